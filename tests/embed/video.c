/* A host for video, in C11: opens an engine directory, sets a prompt, pushes RGB frames from a file, and writes every
 * finished frame. It does so twice, with a reset between, and both outputs must be the same.
 * tests/embed/test_c_host.py compares them with Python's.
 *
 * usage: video ENGINE_DIR PROMPT.f32 ROWS TEXT_DIM FRAMES.rgb OUT.rgb   (raw float32 and RGB8 files)
 */
#include "host.h"

enum { STAMP_STEP = 33 };

/* Moves what is finished to the end of `out`. */
static int pull_all(penstock_session* session, penstock_frame picture, uint8_t* out, size_t* filled, size_t size) {
  int64_t waiting = 0;
  if (failed(penstock_session_poll(session, &waiting), "poll")) return 1;
  for (; waiting > 0; --waiting) {
    const int64_t expected = (int64_t)(*filled / size) * STAMP_STEP;
    picture.planes[0] = out + *filled;
    if (failed(penstock_session_pull(session, &picture), "pull") || picture.timestamp != expected) return 1;
    *filled += size;
  }
  return penstock_session_pull(session, &picture) != PENSTOCK_NOT_READY;
}

/* One stream over all frames, into `out`, which has room for as many. */
static int stream(penstock_session* session, const penstock_tensor* prompt, penstock_frame picture, uint8_t* frames,
                  int64_t count, uint8_t* out) {
  const size_t size = (size_t)picture.width * (size_t)picture.height * 3;
  size_t filled = 0;
  if (failed(penstock_session_reset(session), "reset") ||
      failed(penstock_session_set_prompt(session, prompt), "prompt") ||
      failed(penstock_session_set_seed(session, 7), "seed"))
    return 1;
  for (int64_t i = 0; i < count; ++i) {
    picture.planes[0] = frames + (size_t)i * size;
    picture.timestamp = i * STAMP_STEP;
    if (failed(penstock_session_push(session, &picture), "push")) return 1;
    if (i % 3 == 0 && pull_all(session, picture, out, &filled, size)) return 1;
  }
  if (failed(penstock_session_flush(session), "flush") || pull_all(session, picture, out, &filled, size)) return 1;
  if (penstock_session_push(session, &picture) != PENSTOCK_ERR_INVALID_ARGUMENT) {
    fprintf(stderr, "video: a push after the flush was taken\n");
    return 1;
  }
  penstock_session_stats stats;
  penstock_session_stats_init(&stats);
  if (failed(penstock_session_get_stats(session, &stats), "stats")) return 1;
  if (filled != (size_t)count * size || stats.frames_in != (uint64_t)count || stats.frames_out != stats.frames_in) {
    fprintf(stderr, "video: %llu frames in, %llu out\n", (unsigned long long)stats.frames_in,
            (unsigned long long)stats.frames_out);
    return 1;
  }
  return 0;
}

static int run(penstock_session* session, penstock_frame picture, char** argv) {
  const size_t frame = (size_t)picture.width * (size_t)picture.height * 3;
  size_t prompt_size = 0, size = 0;
  uint8_t* prompt = read_file(argv[2], &prompt_size);
  uint8_t* frames = read_file(argv[5], &size);
  uint8_t* out = malloc(size + 1);
  uint8_t* again = malloc(size + 1);
  FILE* file = fopen(argv[6], "wb");
  int bad = 1;
  if (prompt && frames && out && again && file && frame) {
    const penstock_tensor embeddings = matrix_of(prompt, atoi(argv[3]), atoi(argv[4]));
    const int64_t count = (int64_t)(size / frame);
    bad = stream(session, &embeddings, picture, frames, count, out) ||
          stream(session, &embeddings, picture, frames, count, again) || memcmp(out, again, size) != 0 ||
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
  int bad =
      failed(penstock_session_create(engine, NULL, &session), "session") || run(session, plan_frame(engine), argv);
  penstock_session_free(session);
  penstock_engine_free(engine);
  return bad;
}
