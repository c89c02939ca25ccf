// MappedFile: a whole regular file as read-only memory.
//
// Hazard: the size is the one at opening. If another process truncates the file afterwards, reading past its new end
// raises SIGBUS, which ends the host process. A library cannot prevent that: no check is atomic with the read that
// follows, and signal handlers belong to the host. What keeps it from happening is that penstock's own writers replace
// files by renaming, which leaves a mapping whole, and that a mapping should not outlive the copy of its weights.
#pragma once

#include <cstddef>
#include <string>

namespace penstock {

class MappedFile {
 public:
  // Throws PENSTOCK_ERR_BAD_FILE, naming the path and the reason. An empty file is fine: size() is 0.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const void* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace penstock
