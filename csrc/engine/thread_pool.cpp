#include "engine/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>

namespace penstock {

struct ThreadPool::Loop {
  int64_t count;
  const std::function<void(int64_t)>* body;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable finished;
  int64_t done = 0;
  std::exception_ptr error;
};

ThreadPool::ThreadPool(int threads) {
  const int total = threads > 0 ? threads : default_thread_count();
  try {
    for (int i = 1; i < total; ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {  // no memory, or no more threads
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_loop(Loop& loop) {
  int64_t completed = 0;
  std::exception_ptr error;
  for (int64_t i; (i = loop.next.fetch_add(1)) < loop.count; ++completed) {
    try {
      (*loop.body)(i);
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (completed == 0) return;
  std::lock_guard<std::mutex> lock(loop.mutex);
  if (error && !loop.error) loop.error = error;
  loop.done += completed;
  if (loop.done == loop.count) loop.finished.notify_all();
}

void ThreadPool::work() {
  for (;;) {
    std::shared_ptr<Loop> loop;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !loops_.empty(); });
      if (stopping_) return;
      loop = loops_.front();
      if (loop->next.load() >= loop->count) {
        loops_.pop_front();
        continue;
      }
    }
    run_loop(*loop);
  }
}

void ThreadPool::for_each(int64_t count, const std::function<void(int64_t)>& body) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  auto loop = std::make_shared<Loop>();
  loop->count = count;
  loop->body = &body;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    loops_.push_back(loop);
  }
  wake_.notify_all();
  run_loop(*loop);
  std::unique_lock<std::mutex> lock(loop->mutex);
  loop->finished.wait(lock, [&] { return loop->done == loop->count; });
  if (loop->error) std::rethrow_exception(loop->error);
}

void ThreadPool::for_ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t step = std::max<int64_t>(grain, 1);
  for_each((count + step - 1) / step, [&](int64_t i) { body(i * step, std::min(count, (i + 1) * step)); });
}

int default_thread_count() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace penstock
