// Two sessions on two threads over one engine give what they give one after the other, by push and by submit.
//
// usage: threads ENGINE FRAMES
#include <cstdlib>
#include <thread>

#include "host.hpp"

namespace {

using Pictures = std::vector<std::vector<std::uint8_t>>;

Pictures stream(const penstock::Engine& engine, std::uint64_t seed, int frames, bool submits) {
  penstock_session_params params = penstock::session_params();
  params.queue_frames = 8;
  penstock::Session session(engine, params);
  Clip clip(engine);
  session.set_seed(seed);
  Pictures pictures;
  const auto pull = [&] {
    for (penstock_frame frame = clip.room(); session.pull(frame);) pictures.push_back(clip.pixels());
  };
  for (int i = 0; i < frames; ++i) {
    penstock_frame frame = clip.frame(i);
    if (submits) {
      while (!session.submit(frame, 1)) {
        pull();
        frame = clip.frame(i);
      }
    } else {
      session.push(frame);
    }
    pull();
  }
  session.flush();
  pull();
  return pictures;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const penstock::Engine engine = open_cpu(argv[1], 2);
  const int frames = std::atoi(argv[2]);
  const Pictures expected[2] = {stream(engine, 1, frames, false), stream(engine, 2, frames, false)};
  Pictures actual[2];
  std::thread first([&] { actual[0] = stream(engine, 1, frames, false); });
  std::thread second([&] { actual[1] = stream(engine, 2, frames, true); });
  first.join();
  second.join();
  for (int i = 0; i < 2; ++i) {
    expect(expected[i].size() == static_cast<std::size_t>(frames), "as many frames come out as go in");
    expect(actual[i] == expected[i], "session " + std::to_string(i) + " equals itself alone");
  }
  return problems != 0;
} catch (const std::exception& error) {
  std::printf("failed: %s\n", error.what());
  return 1;
}
