// A live host over an engine that gives back its frames (echo_engine.py): queues and their policies, timestamps, the
// clock, cancel, two threads on one session, the order of calls.
//
// usage: live ECHO_ENGINE SLOW_ECHO_ENGINE
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>

#include "host.hpp"

namespace {

using penstock::Engine;
using penstock::Session;

penstock_session_params queue(penstock_queue_policy policy, int frames, double deadline_ms = 0) {
  penstock_session_params params = penstock::session_params();
  params.queue_policy = policy;
  params.queue_frames = frames;
  params.deadline_ms = deadline_ms;
  return params;
}

// Pulls until the stream's end; the timestamps in their order. Every picture must be that of its timestamp.
std::vector<std::int64_t> pull_all(Session& session, Clip& clip) {
  std::vector<std::int64_t> stamps;
  while (*session.wait() > 0) {
    penstock_frame frame = clip.room();
    if (!session.pull(frame)) continue;
    expect(clip.holds(frame.timestamp), "frame " + std::to_string(frame.timestamp) + " is itself");
    stamps.push_back(frame.timestamp);
  }
  return stamps;
}

void check_block(const Engine& engine) {
  Session session(engine, queue(PENSTOCK_QUEUE_BLOCK, 5));
  std::thread capture([&] {
    Clip clip(engine);
    for (int i = 0; i < 50; ++i) expect(session.submit(clip.frame(i)), "submit");
    session.submit_end();
  });
  Clip clip(engine);
  const std::vector<std::int64_t> stamps = pull_all(session, clip);
  capture.join();
  expect(stamps.size() == 50, "every frame comes out");
  for (std::size_t i = 0; i < stamps.size(); ++i) expect(stamps[i] == static_cast<std::int64_t>(i), "in order");
  const penstock_session_stats stats = session.stats();
  expect(stats.frames_in == 50 && stats.frames_out == 50 && stats.frames_dropped == 0 && stats.outputs_dropped == 0 &&
             stats.frames_queued == 0 && stats.chunks == 13 && stats.max_latency_ms >= stats.last_latency_ms,
         "statistics of block");
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "submit after the end", [&] { session.submit(clip.frame(0)); });
}

void check_take(const Engine& engine) {
  Clip clip(engine);
  std::vector<penstock::Picture> taken;
  {
    Session session(engine);
    expect(!session.take(), "nothing to take");
    for (int i = 0; i < 5; ++i) session.push(clip.frame(i));
    while (std::optional<penstock::Picture> picture = session.take()) taken.push_back(std::move(*picture));
    expect(session.poll() == 0 && taken.size() == 5, "taken frames are gone from the session");
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const penstock_frame& frame = taken[i].frame();
    const penstock_frame expected = clip.frame(static_cast<std::int64_t>(i));
    expect(frame.format == PENSTOCK_RGB8 && frame.memory == PENSTOCK_MEMORY_HOST && frame.width == expected.width &&
               frame.height == expected.height && frame.strides[0] == 3 * expected.width &&
               frame.timestamp == expected.timestamp,
           "a picture is described");
    expect(std::memcmp(frame.planes[0], expected.planes[0], clip.bytes()) == 0, "and outlives its session");
    taken[i].order(nullptr);
  }
}

void check_full_queue(const Engine& slow) {
  Session session(slow, queue(PENSTOCK_QUEUE_BLOCK, 5));
  Clip clip(slow);
  int taken = 0;
  while (session.submit(clip.frame(taken), taken < 10 ? 20000 : 0)) ++taken;
  expect(taken == 10, "5 frames finished, 5 waiting, and no more: " + std::to_string(taken));
  penstock_frame frame = clip.room();
  expect(session.wait(20000).value_or(0) > 0 && session.pull(frame), "a frame is finished");
  expect(session.submit(clip.frame(taken++), 20000), "a pull makes room");
  session.flush();  // nobody pulls: the finished frames must not hold it up
  expect(session.poll() == taken - 1, "a flush finishes all");
  expect(pull_all(session, clip).size() == static_cast<std::size_t>(taken) - 1, "and all can be pulled");
}

void check_drops(const Engine& slow, penstock_queue_policy policy) {
  Session session(slow, queue(policy, 8, 1e-6));
  Clip clip(slow);
  const int count = 60;
  for (int i = 0; i < count; ++i) expect(session.submit(clip.frame(i), 0), "a dropping queue never waits");
  session.submit_end();
  const std::vector<std::int64_t> stamps = pull_all(session, clip);
  const penstock_session_stats stats = session.stats();
  expect(stats.frames_in == count && stats.frames_dropped > 0, "frames are dropped");
  expect(stats.frames_in == stats.frames_dropped + stats.frames_out, "dropped or finished");
  expect(stamps.size() + stats.outputs_dropped == stats.frames_out, "finished ones are pulled or dropped");
  expect(stats.deadline_misses == stats.frames_out, "every frame misses a deadline of a nanosecond");
  expect(!stamps.empty() && stamps.back() == count - 1, "the newest frame is there");
  for (std::size_t i = 1; i < stamps.size(); ++i) expect(stamps[i] > stamps[i - 1], "in order");
  const std::uint64_t most = policy == PENSTOCK_QUEUE_LATEST_WINS ? 5 + 4 + 4 : 5 + 8;
  expect(stats.frames_out <= most + 8, "no more than what fits waited: " + std::to_string(stats.frames_out));
}

void check_cancel(const Engine& slow) {
  Session session(slow);
  Clip clip(slow);
  std::atomic<bool> stopped{false};
  std::thread worker([&] {
    Clip own(slow);
    expect_status(PENSTOCK_ERR_CANCELLED, "a cancelled stream", [&] {
      for (int i = 0; i < 100000; ++i) session.push(own.frame(i));
    });
    stopped = true;
  });
  while (session.stats().phases_run < 4) std::this_thread::yield();
  session.cancel();
  const std::uint64_t before = session.stats().phases_run;
  worker.join();
  expect(stopped && session.stats().phases_run <= before + 4, "cancel stops within a phase");
  expect_status(PENSTOCK_ERR_CANCELLED, "later calls", [&] { session.push(clip.frame(0)); });
  expect_status(PENSTOCK_ERR_CANCELLED, "later phases", [&] { session.run("encode"); });
  session.reset();
  for (int i = 0; i < 5; ++i) session.push(clip.frame(i));
  expect(session.poll() == 5, "after a reset all is well");

  session.reset();
  for (int i = 0; i < 12; ++i) session.submit(clip.frame(i));
  session.cancel();
  expect_status(PENSTOCK_ERR_CANCELLED, "submit after cancel", [&] { session.submit(clip.frame(0)); });
  expect_status(PENSTOCK_ERR_CANCELLED, "flush after cancel", [&] { session.flush(); });
  session.reset();
  session.submit(clip.frame(0));
  session.flush();
  expect(pull_all(session, clip).size() == 1, "and a stream after it");
}

void check_two_threads(const Engine& slow) {
  Session session(slow);
  std::atomic<int> busy{0}, done{0};
  const auto hammer = [&] {
    Clip clip(slow);
    for (int i = 0; i < 20; ++i) {
      try {
        session.push(clip.frame(i));
        ++done;
      } catch (const penstock::Exception& error) {
        if (error.status() == PENSTOCK_ERR_BUSY) ++busy;
      }
    }
  };
  std::thread first(hammer), second(hammer);
  first.join();
  second.join();
  expect(busy + done == 40 && busy > 0, "two threads: done or busy, nothing else");
  expect(session.stats().frames_in == static_cast<std::uint64_t>(done), "what was done was done once");
}

void check_controls(const Engine& engine) {
  Session session(engine);
  Clip clip(engine);
  std::vector<float> prompt(32);
  session.read("prompt_embeddings", penstock::Span<float>(prompt));
  expect(prompt[5] == 5 && prompt[23] == 23 && prompt[24] == 0, "the prompt of the engine directory");
  for (int i = 0; i < 9; ++i) session.submit(clip.frame(i));
  session.set_noise_scale(0.25f);
  session.set_seed(77);
  float scale = 0;
  session.read("noise_scale", penstock::Span<float>(&scale, 1));
  expect(scale == 0.25f, "a control while the worker runs");
  for (float wrong : {-0.1f, 1.1f, std::numeric_limits<float>::quiet_NaN()})
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "noise_scale", [&] { session.set_noise_scale(wrong); });
  const std::vector<float> row(8, 2.0f);
  session.set_prompt(row, 1);
  session.reset();
  session.read("prompt_embeddings", penstock::Span<float>(prompt));
  expect(prompt[5] == 5, "a reset brings the engine's prompt back");
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "a prompt too wide", [&] { session.set_prompt(row, 2); });
}

void check_misuse(const Engine& engine) {
  Session session(engine);
  Clip clip(engine);
  penstock_frame good = clip.frame(0);
  const auto refuse = [&](const char* what, const std::function<void(penstock_frame&)>& spoil) {
    penstock_frame frame = good;
    spoil(frame);
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, what, [&] { session.push(frame); });
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, what, [&] { session.submit(frame); });
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, what, [&] { session.pull(frame); });
  };
  refuse("width", [](penstock_frame& frame) { frame.width += 1; });
  refuse("height", [](penstock_frame& frame) { frame.height = -1; });
  for (const int bad : {17, -1}) {
    refuse("format", [&](penstock_frame& frame) { frame.format = static_cast<penstock_pixel_format>(bad); });
    refuse("color", [&](penstock_frame& frame) { frame.color = static_cast<penstock_color>(bad); });
    refuse("memory", [&](penstock_frame& frame) { frame.memory = static_cast<penstock_memory>(bad); });
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "policy",
                  [&] { Session(engine, queue(static_cast<penstock_queue_policy>(bad), 8)); });
    penstock_session_params params = penstock::session_params();
    params.output_memory = static_cast<penstock_memory>(bad);
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "output_memory", [&] { Session(engine, params); });
  }
  refuse("no plane", [](penstock_frame& frame) { frame.planes[0] = nullptr; });
  refuse("no second plane", [](penstock_frame& frame) { frame.format = PENSTOCK_NV12; });
  refuse("a stride too short", [](penstock_frame& frame) { frame.strides[0] = 3 * frame.width - 1; });
  refuse("a stride too short upwards", [](penstock_frame& frame) { frame.strides[0] = 1 - 3 * frame.width; });
  refuse("the size of the struct", [](penstock_frame& frame) { frame.struct_size = 0; });
  penstock_frame device = good;
  device.memory = PENSTOCK_MEMORY_CUDA;
  expect_status(PENSTOCK_ERR_UNSUPPORTED, "device memory on the CPU", [&] { session.push(device); });
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "the end of nothing", [&] { session.submit_end(); });
  expect(!session.wait(1), "waiting for nothing times out");
  session.push(good);
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "submit after push", [&] { session.submit(good); });
  session.reset();
  session.submit(good);
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "push after submit", [&] { session.push(good); });
  expect_status(PENSTOCK_ERR_UNSUPPORTED, "generate", [&] { Session(engine).generate(1); });
  for (int frames : {0, 4, 5000})
    expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "queue_frames",
                  [&] { Session(engine, queue(PENSTOCK_QUEUE_BLOCK, frames)); });
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "deadline",
                [&] { Session(engine, queue(PENSTOCK_QUEUE_BLOCK, 8, -1)); });
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const Engine engine = open_cpu(argv[1], 2), slow = open_cpu(argv[2], 2);
  check_block(engine);
  check_take(engine);
  check_full_queue(slow);
  check_drops(slow, PENSTOCK_QUEUE_DROP_OLDEST);
  check_drops(slow, PENSTOCK_QUEUE_LATEST_WINS);
  check_cancel(slow);
  check_two_threads(slow);
  check_controls(engine);
  check_misuse(engine);
  return problems != 0;
} catch (const std::exception& error) {
  std::printf("failed: %s\n", error.what());
  return 1;
}
