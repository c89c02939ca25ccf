// Memory that is not to be had: the k-th allocation fails, for every k, in the C++ heap and in the host's allocator.
// Each call must give PENSTOCK_ERR_OUT_OF_MEMORY and leave nothing behind; and 1,000 sessions one after the other, too.
// Under a leak checker this shows that nothing is lost (tests/embed/sanitize.sh).
//
// usage: failures ECHO_ENGINE
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "host.hpp"

namespace {

std::atomic<long> allocations_left{-1};  // until one fails; negative: none does

bool must_fail() { return allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0; }

}  // namespace

void* operator new(std::size_t size) {
  if (must_fail()) throw std::bad_alloc();
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

// A host's allocator of its own, which fails at one call.
struct Arena {
  std::map<void*, std::size_t> live;
  long calls = 0;
  long failing = -1;

  static void* allocate(std::size_t bytes, std::size_t alignment, void* user) {
    Arena& arena = *static_cast<Arena*>(user);
    if (arena.calls++ == arena.failing) return nullptr;
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    std::memset(memory, 0xa5, bytes);
    arena.live[memory] = bytes;
    return memory;
  }
  static void release(void* memory, std::size_t bytes, void* user) {
    Arena& arena = *static_cast<Arena*>(user);
    expect(arena.live.count(memory) && arena.live[memory] == bytes, "release gives back what allocate gave");
    arena.live.erase(memory);
    std::free(memory);
  }
};

// Opens, streams two chunks by push and one by submit, and closes; the first status that is not OK.
penstock_status live_once(const char* directory, const penstock_engine_params& params, std::uint8_t* pixels) {
  penstock_engine* engine = nullptr;
  penstock_session* session = nullptr;
  penstock_frame frame;
  penstock_frame_init(&frame);
  frame.width = frame.height = 16;
  frame.planes[0] = pixels;
  penstock_status status = penstock_engine_open(directory, &params, &engine);
  if (!status) status = penstock_session_create(engine, nullptr, &session);
  for (int i = 0; !status && i < 9; ++i) status = penstock_session_push(session, &frame);
  if (!status) status = penstock_session_flush(session);
  if (!status) status = penstock_session_pull(session, &frame);
  penstock_picture* picture = nullptr;
  penstock_frame taken;
  penstock_frame_init(&taken);
  if (!status) status = penstock_session_take(session, &taken, &picture);
  if (!status) status = penstock_session_reset(session);
  for (int i = 0; !status && i < 6; ++i) status = penstock_session_submit(session, &frame, -1);
  if (!status) status = penstock_session_flush(session);
  if (!status) status = penstock_session_pull(session, &frame);
  penstock_session_free(session);
  penstock_engine_free(engine);
  if (!status && *static_cast<std::uint8_t*>(taken.planes[0]) != 9) status = PENSTOCK_ERR_INTERNAL;  // it is ours still
  penstock_picture_free(picture, nullptr);
  return status;
}

void check_heap(const char* directory, const penstock_engine_params& params, std::uint8_t* pixels) {
  long failing = 0;
  for (; problems == 0; ++failing) {
    allocations_left = failing;
    const penstock_status status = live_once(directory, params, pixels);
    const bool ran_out = allocations_left.exchange(-1) < 0;
    if (status == PENSTOCK_OK && !ran_out) break;
    // A text that was being put together may lose its tail instead, which nobody needs to know.
    expect(
        status == PENSTOCK_ERR_OUT_OF_MEMORY || (ran_out && status == PENSTOCK_OK),
        "allocation " + std::to_string(failing) + ": " + penstock_status_name(status) + ": " + penstock_last_error());
    if (failing % 50 == 0) expect(live_once(directory, params, pixels) == PENSTOCK_OK, "and then all is well");
  }
  std::printf("%ld allocations failed one by one\n", failing);
  expect(failing > 100, "the heap was used");
}

void check_arena(const char* directory, std::uint8_t* pixels) {
  Arena arena;
  penstock_engine_params params = penstock::engine_params();
  params.device = PENSTOCK_DEVICE_CPU;
  params.threads = 1;
  params.allocate = Arena::allocate;
  params.release = Arena::release;
  params.allocator_user = &arena;
  expect(live_once(directory, params, pixels) == PENSTOCK_OK && arena.calls > 1, "a host's allocator is used");
  const long calls = arena.calls;
  for (arena.failing = 0; arena.failing < calls; ++arena.failing) {
    arena.calls = 0;
    expect(live_once(directory, params, pixels) == PENSTOCK_ERR_OUT_OF_MEMORY, "the host refuses memory");
    expect(std::strstr(penstock_last_error(), "host's allocator refused") != nullptr, "and is named");
    expect(arena.live.empty(), "everything was given back");
  }
  params.release = nullptr;
  expect(live_once(directory, params, pixels) == PENSTOCK_ERR_INVALID_ARGUMENT, "allocate without release");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::vector<std::uint8_t> pixels(16 * 16 * 3, 9);
  penstock_engine_params params = penstock::engine_params();
  params.device = PENSTOCK_DEVICE_CPU;
  params.threads = 2;
  check_heap(argv[1], params, pixels.data());
  check_arena(argv[1], pixels.data());
  for (int i = 0; i < 1000; ++i) expect(live_once(argv[1], params, pixels.data()) == PENSTOCK_OK, "one of 1,000");
  return problems != 0;
}
