// Cancel from another thread on the CUDA backend, over the mock driver: at most the phase that is being launched is
// launched, whoever drives the stream; waiting calls come back; a reset lets the session go on.
//
// usage: cancel ENGINE      (video-to-video, one step)
#include <thread>

#include "mock_host.h"

namespace {

constexpr int kRounds = 20;

void wait_for_launches(std::int64_t more) {
  const std::int64_t enough = mock_count("cuGraphLaunch") + more;
  while (mock_count("cuGraphLaunch") < enough) std::this_thread::yield();
}

// Cancels while another thread is in `drive`, which must end with PENSTOCK_ERR_CANCELLED.
void check(penstock::Session& session, const std::string& what, const std::function<void()>& drive) {
  for (int round = 0; round < kRounds; ++round) {
    std::thread driver([&] { expect_status(PENSTOCK_ERR_CANCELLED, what, drive); });
    wait_for_launches(3 + round);  // at another place every time
    session.cancel();
    const std::int64_t launched = mock_count("cuGraphLaunch");
    driver.join();
    expect(mock_count("cuGraphLaunch") <= launched + 1, what + ": within one phase");
    expect_status(PENSTOCK_ERR_CANCELLED, what + ": what was finished, and then nothing", [&] {
      while (session.wait().value_or(0) > 0) session.take();
    });
    session.reset();
  }
}

void check_engine(const penstock::Engine& engine) {
  penstock_session_params params = penstock::session_params();
  params.queue_policy = PENSTOCK_QUEUE_DROP_OLDEST;
  penstock::Session session(engine, params);
  Clip clip(engine);
  const penstock_frame frame = clip.frame(0);
  check(session, "push", [&] {
    for (;;) session.push(frame);
  });
  check(session, "submit", [&] {
    for (;;) session.submit(frame);
  });
  check(session, "run", [&] {
    for (;;) session.run("denoise");
  });
  for (int i = 0; i < 5; ++i) session.push(frame);
  session.flush();
  expect(session.poll() == 5, "after a reset all is well");
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  penstock_engine_params params = penstock::engine_params();
  params.device = PENSTOCK_DEVICE_CUDA;
  for (const penstock_schedule schedule : {PENSTOCK_SCHEDULE_LATENCY, PENSTOCK_SCHEDULE_THROUGHPUT}) {
    params.schedule = schedule;
    check_engine(penstock::Engine(argv[1], params));
  }
  return end_on_mock();
} catch (const std::exception& error) {
  std::printf("failed: %s\n", error.what());
  return 1;
}
