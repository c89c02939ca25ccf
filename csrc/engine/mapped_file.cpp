#include "engine/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "engine/error.h"

namespace penstock {
namespace {

[[noreturn]] void fail_errno(const std::string& path, const char* action) {
  const int code = errno;
  fail(PENSTOCK_ERR_BAD_FILE, path, ": cannot ", action, ": ", std::generic_category().message(code));
}

struct Descriptor {
  int number;
  ~Descriptor() { close(number); }
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer that may never come.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.number < 0) fail_errno(path, "open");
  struct stat info;
  if (fstat(file.number, &info) != 0) fail_errno(path, "examine");
  if (!S_ISREG(info.st_mode))
    fail(PENSTOCK_ERR_BAD_FILE, path, ": expected a regular file, got ",
         S_ISDIR(info.st_mode) ? "a directory" : "a device, pipe or socket");
  if (info.st_size == 0) return;
  size_ = static_cast<size_t>(info.st_size);
  void* const data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) fail_errno(path, "map");
  data_ = data;
}

MappedFile::~MappedFile() {
  if (data_) munmap(data_, size_);
}

}  // namespace penstock
