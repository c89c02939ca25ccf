// ThreadPool: fork-join loops over a fixed set of threads. Several callers may run loops at the same time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace penstock {

class ThreadPool {
 public:
  // `threads` counts the caller too; 0 means all cores that this process may use.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) for i in [0, count), on this thread and the workers, and returns when all are done. How the work is
  // cut is the caller's: results do not depend on the number of threads. The first exception is thrown again here.
  void for_each(int64_t count, const std::function<void(int64_t)>& body);

  // Calls body(begin, end) for consecutive ranges of `grain` indices that cover [0, count).
  void for_ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

 private:
  struct Loop;
  void work();
  void stop();
  static void run_loop(Loop& loop);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Loop>> loops_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

int default_thread_count();

}  // namespace penstock
