/* The smallest embedding host, in C11: opens an engine directory, sets a prompt, runs the first chunk and then one more
 * per run of latents in the input file, and writes every x0. tests/embed/test_c_host.py compares it with Python.
 *
 * usage: denoise ENGINE_DIR PROMPT.f32 ROWS TEXT_DIM FIRST.f32 LATENTS.f32 OUT.f32   (raw little-endian float32 files)
 */
#include "host.h"

/* Bytes of a tensor of the plan; 0 if there is none. */
static size_t tensor_bytes(const penstock_engine* engine, const char* name) {
  penstock_tensor_info info;
  memset(&info, 0, sizeof info);
  info.struct_size = sizeof info;
  if (failed(penstock_engine_tensor_info(engine, name, &info), name)) return 0;
  return (size_t)info.size_bytes;
}

/* Feeds one chunk and appends its x0 to the output file. */
static int run_chunk(penstock_session* session, const penstock_engine* engine, const char* input, const char* phase,
                     const char* output, const void* latents, FILE* out) {
  const size_t in_bytes = tensor_bytes(engine, input);
  const size_t out_bytes = tensor_bytes(engine, output);
  void* x0 = malloc(out_bytes + 1);
  int bad = !x0 || failed(penstock_session_write(session, input, latents, in_bytes), input) ||
            failed(penstock_session_run(session, phase), phase) ||
            failed(penstock_session_read(session, output, x0, out_bytes), output) ||
            fwrite(x0, 1, out_bytes, out) != out_bytes;
  free(x0);
  return bad;
}

static int stream(penstock_engine* engine, penstock_session* session, char** argv) {
  size_t prompt_size = 0, first_size = 0, latents_size = 0;
  char* prompt = read_file(argv[2], &prompt_size);
  char* first = read_file(argv[5], &first_size);
  char* latents = read_file(argv[6], &latents_size);
  FILE* out = fopen(argv[7], "wb");
  int bad = 1;
  if (prompt && first && latents && out) {
    const penstock_tensor embeddings = matrix_of(prompt, atoi(argv[3]), atoi(argv[4]));
    const size_t chunk = tensor_bytes(engine, "latents");
    bad = failed(penstock_session_set_seed(session, 7), "seed") ||
          failed(penstock_session_set_prompt(session, &embeddings), "prompt") ||
          run_chunk(session, engine, "latents_first", "denoise_first", "x0_first", first, out);
    for (size_t at = 0; !bad && chunk && at + chunk <= latents_size; at += chunk)
      bad = run_chunk(session, engine, "latents", "denoise", "x0", latents + at, out);
  }
  if (out) fclose(out);
  free(prompt);
  free(first);
  free(latents);
  return bad;
}

int main(int argc, char** argv) {
  if (argc != 8) {
    fprintf(stderr, "usage: denoise ENGINE_DIR PROMPT.f32 ROWS TEXT_DIM FIRST.f32 LATENTS.f32 OUT.f32\n");
    return 2;
  }
  penstock_engine_params params;
  penstock_engine_params_init(&params);
  params.device = PENSTOCK_DEVICE_CPU;
  penstock_engine* engine = NULL;
  penstock_session* session = NULL;
  int bad = failed(penstock_engine_open(argv[1], &params, &engine), "open") ||
            failed(penstock_session_create(engine, NULL, &session), "session") || stream(engine, session, argv);
  penstock_session_free(session);
  penstock_engine_free(engine);
  return bad;
}
