// Video as bytes in a pipe: rgb24 frames one after the other, or YUV4MPEG2 (Y4M) with 4:2:0 chroma, as ffmpeg writes
// and reads them. A frame is kept as the engine takes it: RGB8 or NV12.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <penstock/penstock.hpp>
#include <stdexcept>
#include <string>
#include <vector>

struct Format {
  int width = 0;
  int height = 0;
  bool is_y4m = false;
  bool is_full_range = false;  // of Y4M; its matrix is taken to be BT.709
  std::string rate = "16:1";   // frames a second, as Y4M writes it
  std::size_t bytes() const {
    const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    return is_y4m ? pixels + pixels / 2 : pixels * 3;
  }
};

// The engine's view of a frame's bytes.
inline penstock_frame view(const Format& format, std::vector<std::uint8_t>& bytes) {
  penstock_frame frame = penstock::make(penstock_frame_init);
  frame.width = format.width;
  frame.height = format.height;
  frame.planes[0] = bytes.data();
  if (format.is_y4m) {
    frame.format = PENSTOCK_NV12;
    frame.color = format.is_full_range ? PENSTOCK_BT709_FULL : PENSTOCK_BT709_LIMITED;
    frame.planes[1] = bytes.data() + static_cast<std::size_t>(format.width) * static_cast<std::size_t>(format.height);
  }
  return frame;
}

class Fail : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The Cb and Cr of a frame: planes in a row in Y4M, in turn in NV12.
class ChromaOrder {
 public:
  explicit ChromaOrder(const Format& format)
      : luma_(static_cast<std::size_t>(format.width) * static_cast<std::size_t>(format.height)), spare_(luma_ / 2) {}

  void interleave(std::vector<std::uint8_t>& frame) {
    const std::uint8_t* planes = frame.data() + luma_;
    for (std::size_t i = 0; i < spare_.size() / 2; ++i) {
      spare_[2 * i] = planes[i];
      spare_[2 * i + 1] = planes[spare_.size() / 2 + i];
    }
    std::copy(spare_.begin(), spare_.end(), frame.begin() + static_cast<std::ptrdiff_t>(luma_));
  }
  void separate(std::vector<std::uint8_t>& frame) {
    const std::uint8_t* pairs = frame.data() + luma_;
    for (std::size_t i = 0; i < spare_.size() / 2; ++i) {
      spare_[i] = pairs[2 * i];
      spare_[spare_.size() / 2 + i] = pairs[2 * i + 1];
    }
    std::copy(spare_.begin(), spare_.end(), frame.begin() + static_cast<std::ptrdiff_t>(luma_));
  }

 private:
  std::size_t luma_;
  std::vector<std::uint8_t> spare_;
};

class Reader {
 public:
  // Y4M says its size itself.
  Reader(std::FILE* file, const Format& format) : file_(file), format_(format) {
    if (format_.is_y4m) read_header();
  }

  const Format& format() const { return format_; }

  // False at the end of the stream.
  bool read(std::vector<std::uint8_t>& frame) {
    frame.resize(format_.bytes());
    if (format_.is_y4m) {
      const std::string line = read_line();
      if (line.empty()) return false;
      if (line.rfind("FRAME", 0) != 0) throw Fail("Y4M: expected FRAME, got " + line.substr(0, 20));
    }
    const std::size_t have = std::fread(frame.data(), 1, frame.size(), file_);
    if (have == 0 && !format_.is_y4m) return false;
    if (have != frame.size()) throw Fail("the input ends within a frame");
    if (format_.is_y4m) ChromaOrder(format_).interleave(frame);
    return true;
  }

 private:
  std::string read_line() {
    std::string line;
    for (int c; (c = std::fgetc(file_)) != EOF && c != '\n';) {
      line += static_cast<char>(c);
      if (line.size() > 256) throw Fail("Y4M: a header line that is too long");
    }
    return line;
  }

  void read_header() {
    const std::string line = read_line() + " ";
    if (line.rfind("YUV4MPEG2 ", 0) != 0) throw Fail("the input is not Y4M; rgb24 frames need --in rgb24");
    std::string layout = "420";
    for (std::size_t at = 10, end; (end = line.find(' ', at)) != std::string::npos; at = end + 1) {
      const std::string field = line.substr(at, end - at);
      if (field.empty()) continue;
      if (field[0] == 'W') format_.width = std::atoi(field.c_str() + 1);
      if (field[0] == 'H') format_.height = std::atoi(field.c_str() + 1);
      if (field[0] == 'F') format_.rate = field.substr(1);
      if (field[0] == 'C') layout = field.substr(1);
      if (field == "XCOLORRANGE=FULL") format_.is_full_range = true;
    }
    const bool is_420 = layout == "420" || layout == "420jpeg" || layout == "420mpeg2" || layout == "420paldv";
    if (!is_420) throw Fail("Y4M: expected C420 chroma with 8 bits, got C" + layout);
    if (format_.width < 2 || format_.height < 2 || format_.width % 2 || format_.height % 2)
      throw Fail("Y4M: expected an even size, got " + std::to_string(format_.width) + "x" +
                 std::to_string(format_.height));
  }

  std::FILE* file_;
  Format format_;
};

class Writer {
 public:
  Writer(std::FILE* file, const Format& format) : file_(file), format_(format) {
    if (format_.is_y4m)
      std::fprintf(file_, "YUV4MPEG2 W%d H%d F%s Ip A1:1 C420jpeg XCOLORRANGE=%s\n", format_.width, format_.height,
                   format_.rate.c_str(), format_.is_full_range ? "FULL" : "LIMITED");
  }

  void write(std::vector<std::uint8_t>& frame) {
    if (format_.is_y4m) {
      std::fputs("FRAME\n", file_);
      ChromaOrder(format_).separate(frame);
    }
    if (std::fwrite(frame.data(), 1, frame.size(), file_) != frame.size()) throw Fail("the output cannot be written");
  }
  void close() {
    if (std::fflush(file_)) throw Fail("the output cannot be written");
  }

 private:
  std::FILE* file_;
  Format format_;
};
