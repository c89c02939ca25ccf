/* A host for video, in C11: opens an engine directory, sets a prompt, pushes RGB frames from a file a few at a time,
 * and writes every finished frame. It does so twice, with a reset between, and both outputs must be the same.
 * tests/embed/test_c_host.py compares them with Python's.
 *
 * usage: video ENGINE_DIR PROMPT.f32 ROWS TEXT_DIM FRAMES.rgb OUT.rgb   (raw float32 and RGB8 files)
 */
#include "host.h"

enum { PUSHED_AT_ONCE = 3, PULLED_AT_ONCE = 2 };

/* Bytes of one frame that the engine takes; 0 if it takes none. */
static size_t frame_bytes(const penstock_engine* engine) {
  penstock_tensor_info info;
  memset(&info, 0, sizeof info);
  info.struct_size = sizeof info;
  if (failed(penstock_engine_tensor_info(engine, "frames", &info), "frames")) return 0;
  return (size_t)(info.shape[1] * info.shape[2] * info.shape[3]);
}

/* Moves what is finished to the end of `out`. */
static int pull_all(penstock_session* session, uint8_t* out, size_t* filled, size_t frame) {
  int64_t waiting = 0, count = 0;
  if (failed(penstock_session_available(session, &waiting), "available")) return 1;
  while (waiting > 0) {
    if (failed(penstock_session_pull(session, out + *filled, PULLED_AT_ONCE, &count), "pull")) return 1;
    if (count != (waiting < PULLED_AT_ONCE ? waiting : PULLED_AT_ONCE)) return 1;
    *filled += (size_t)count * frame;
    waiting -= count;
  }
  return 0;
}

/* One stream over all frames, into `out`, which has room for as many. */
static int stream(penstock_session* session, const penstock_tensor* prompt, const uint8_t* frames, int64_t count,
                  size_t frame, uint8_t* out) {
  const uint64_t seed = 7;
  size_t filled = 0;
  if (failed(penstock_session_reset(session), "reset") ||
      failed(penstock_session_set_prompt(session, prompt), "prompt") ||
      failed(penstock_session_write(session, "seed", &seed, sizeof seed), "seed"))
    return 1;
  for (int64_t at = 0; at < count; at += PUSHED_AT_ONCE) {
    const int64_t now = count - at < PUSHED_AT_ONCE ? count - at : PUSHED_AT_ONCE;
    if (failed(penstock_session_push(session, frames + (size_t)at * frame, now), "push")) return 1;
    if (pull_all(session, out, &filled, frame)) return 1;
  }
  if (failed(penstock_session_flush(session), "flush") || pull_all(session, out, &filled, frame)) return 1;
  if (penstock_session_push(session, frames, 1) != PENSTOCK_ERR_INVALID_ARGUMENT) {
    fprintf(stderr, "video: a push after the flush was taken\n");
    return 1;
  }
  penstock_session_stats stats;
  penstock_session_stats_init(&stats);
  if (failed(penstock_session_get_stats(session, &stats), "stats")) return 1;
  if (filled != (size_t)count * frame || stats.frames_in != (uint64_t)count || stats.frames_out != stats.frames_in) {
    fprintf(stderr, "video: %llu frames in, %llu out\n", (unsigned long long)stats.frames_in,
            (unsigned long long)stats.frames_out);
    return 1;
  }
  return 0;
}

static int run(penstock_session* session, size_t frame, char** argv) {
  size_t prompt_size = 0, size = 0;
  uint8_t* prompt = read_file(argv[2], &prompt_size);
  uint8_t* frames = read_file(argv[5], &size);
  uint8_t* out = malloc(size + PULLED_AT_ONCE * frame);
  uint8_t* again = malloc(size + PULLED_AT_ONCE * frame);
  FILE* file = fopen(argv[6], "wb");
  int bad = 1;
  if (prompt && frames && out && again && file && frame) {
    const penstock_tensor embeddings = prompt_tensor(prompt, atoi(argv[3]), atoi(argv[4]));
    const int64_t count = (int64_t)(size / frame);
    bad = stream(session, &embeddings, frames, count, frame, out) ||
          stream(session, &embeddings, frames, count, frame, again) || memcmp(out, again, size) != 0 ||
          fwrite(out, 1, size, file) != size;
  }
  if (file) fclose(file);
  free(prompt);
  free(frames);
  free(out);
  free(again);
  return bad;
}

int main(int argc, char** argv) {
  penstock_engine* engine = NULL;
  penstock_session* session = NULL;
  penstock_engine_params params;
  if (argc != 7) return 2;
  penstock_engine_params_init(&params);
  params.device = PENSTOCK_DEVICE_CPU;
  if (failed(penstock_engine_open(argv[1], &params, &engine), argv[1])) return 1;
  int bad = failed(penstock_session_create(engine, &session), "session") || run(session, frame_bytes(engine), argv);
  penstock_session_free(session);
  penstock_engine_free(engine);
  return bad;
}
