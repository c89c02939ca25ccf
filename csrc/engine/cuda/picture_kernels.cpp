#include "engine/cuda/picture_kernels.h"

#include "engine/cuda/launch.h"

namespace penstock::cuda {
namespace {

Launch launch_of(KernelLibrary& kernels, const char* name, const Picture& picture) {
  return {kernels.find(name, {}), static_cast<Stream>(picture.cuda_stream)};
}

void add_integers(Launch& launch, std::initializer_list<int> values) {
  for (const int value : values) launch.integer(value);
}

void run_packed(Launch& launch, const Picture& picture) {
  launch.integer(picture.strides[0]).integer(picture.width);
  launch.integer(pixel_bytes(picture.format)).integer(red_place(picture.format));
  launch.run({ceil_div(picture.width, launch.constant("BLOCK")), picture.height});
}

void add_strides(Launch& launch, const Picture& picture) {
  launch.integer(picture.strides[0]).integer(picture.strides[1]).integer(picture.width);
}

}  // namespace

void convert_to_rgb(KernelLibrary& kernels, const Picture& picture, Address rgb) {
  const void* target = reinterpret_cast<const void*>(rgb);
  if (picture.format != PENSTOCK_NV12) {
    Launch launch = launch_of(kernels, "rgb_from_packed", picture);
    launch.pointer(picture.planes[0]).pointer(target);
    return run_packed(launch, picture);
  }
  const ColorMatrix m = color_matrix(picture.color);
  Launch launch = launch_of(kernels, "rgb_from_nv12", picture);
  launch.pointer(picture.planes[0]).pointer(picture.planes[1]).pointer(target);
  add_strides(launch, picture);
  add_integers(launch, {m.y_offset, m.y_scale, m.r_cr, m.g_cb, m.g_cr, m.b_cb});
  launch.run({ceil_div(picture.width, launch.constant("BLOCK")), picture.height});
}

void convert_from_rgb(KernelLibrary& kernels, Address rgb, const Picture& picture) {
  const void* source = reinterpret_cast<const void*>(rgb);
  if (picture.format != PENSTOCK_NV12) {
    Launch launch = launch_of(kernels, "packed_from_rgb", picture);
    launch.pointer(source).pointer(picture.planes[0]);
    return run_packed(launch, picture);
  }
  const ColorMatrix m = color_matrix(picture.color);
  Launch launch = launch_of(kernels, "nv12_from_rgb", picture);
  launch.pointer(source).pointer(picture.planes[0]).pointer(picture.planes[1]);
  add_strides(launch, picture);
  add_integers(launch, {m.y_offset, m.y_r, m.y_g, m.y_b, m.cb_r, m.cb_g, m.chroma, m.cr_g, m.cr_b});
  launch.run({ceil_div(picture.width, 2 * launch.constant("BLOCK")), picture.height / 2});
}

}  // namespace penstock::cuda
