// Frames on their way from and to the device, behind and before what its lanes do, without a wait.
#pragma once

#include "engine/cuda/device_state.h"
#include "engine/picture.h"

namespace penstock::cuda {

// To the host, into pinned memory of its own.
std::unique_ptr<Download> make_download(std::shared_ptr<DeviceState> device, size_t bytes);

// Throws PENSTOCK_ERR_INVALID_ARGUMENT unless the picture's planes begin and end in memory of this device.
void check_memory(DeviceState& device, const Picture& picture);

// Between a host's stream and a lane, in device memory of its own.
std::shared_ptr<DeviceFrame> make_frame(std::shared_ptr<DeviceState> device, int64_t width, int64_t height);

}  // namespace penstock::cuda
