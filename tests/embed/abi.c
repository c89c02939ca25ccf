/* Uses the C ABI wrongly and in older versions: every call must return a status and a message, never crash. */
#include <penstock/penstock.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "host.h"

static int problems = 0;

static void expect(int condition, const char* what) {
  if (condition) return;
  printf("failed: %s (last error: %s)\n", what, penstock_last_error());
  ++problems;
}

static const char kPlan[] =
    "{\"format\":\"penstock-plan\",\"version\":1,\"name\":\"one op\",\"config\":{},\"scratch_size\":0,"
    "\"step_state\":[{\"name\":\"level\",\"dtype\":\"f32\",\"shape\":[2],\"init\":[0.5]}],"
    "\"tensors\":[{\"name\":\"x\",\"kind\":\"input\",\"dtype\":\"compute\",\"shape\":[2,2]},"
    "{\"name\":\"w\",\"kind\":\"weight\",\"dtype\":\"compute\",\"shape\":[1,2]},"
    "{\"name\":\"y\",\"kind\":\"output\",\"dtype\":\"compute\",\"shape\":[2,1]}],"
    "\"phases\":{\"go\":[{\"op\":\"gemm\",\"inputs\":{\"x\":\"x\",\"weight\":\"w\"},\"outputs\":{\"y\":\"y\"},"
    "\"attributes\":{\"activation\":\"none\"}}]}}";

static void check_nulls(void) {
  penstock_engine* engine = NULL;
  penstock_session* session = NULL;
  float value = 0;
  uint64_t bytes;
  int64_t count;
  penstock_frame frame;
  penstock_frame_init(&frame);
  expect(penstock_engine_open(NULL, NULL, &engine) == PENSTOCK_ERR_INVALID_ARGUMENT, "open null directory");
  expect(penstock_engine_open("x", NULL, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "open null result");
  expect(penstock_engine_create(NULL, 0, NULL, &engine) == PENSTOCK_ERR_INVALID_ARGUMENT, "create null plan");
  expect(penstock_check_plan(NULL, 3) == PENSTOCK_ERR_INVALID_ARGUMENT, "check null plan");
  expect(penstock_engine_set_weight(NULL, "w", NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "weight of null engine");
  expect(penstock_engine_tensor_info(NULL, "w", NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "info of null engine");
  expect(penstock_session_memory_required(NULL, &bytes) == PENSTOCK_ERR_INVALID_ARGUMENT, "memory of null engine");
  expect(penstock_session_create(NULL, NULL, &session) == PENSTOCK_ERR_INVALID_ARGUMENT, "session of null engine");
  expect(penstock_session_write(NULL, "x", &value, 4) == PENSTOCK_ERR_INVALID_ARGUMENT, "write null session");
  expect(penstock_session_read(NULL, "x", &value, 4) == PENSTOCK_ERR_INVALID_ARGUMENT, "read null session");
  expect(penstock_session_run(NULL, "go") == PENSTOCK_ERR_INVALID_ARGUMENT, "run null session");
  expect(penstock_session_reset(NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "reset null session");
  expect(penstock_session_set_prompt(NULL, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "prompt of null session");
  expect(penstock_session_push(NULL, &frame) == PENSTOCK_ERR_INVALID_ARGUMENT, "push null session");
  expect(penstock_session_generate(NULL, 1) == PENSTOCK_ERR_INVALID_ARGUMENT, "generate null session");
  expect(penstock_session_flush(NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "flush null session");
  expect(penstock_session_poll(NULL, &count) == PENSTOCK_ERR_INVALID_ARGUMENT, "poll null session");
  expect(penstock_session_pull(NULL, &frame) == PENSTOCK_ERR_INVALID_ARGUMENT, "pull null session");
  penstock_picture* picture = NULL;
  expect(penstock_session_take(NULL, &frame, &picture) == PENSTOCK_ERR_INVALID_ARGUMENT, "take from null session");
  expect(penstock_session_take(NULL, &frame, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "take to null");
  expect(penstock_picture_order(NULL, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "order of null picture");
  penstock_picture_free(NULL, NULL);
  expect(penstock_session_get_stats(NULL, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "stats of null session");
  expect(penstock_session_get_phase_stats(NULL, "go", NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "phase of null session");
  penstock_phase_stats_init(NULL);
  expect(penstock_query_system(NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "query null");
  penstock_engine_params_init(NULL);
  penstock_system_info_init(NULL);
  penstock_session_stats_init(NULL);
  penstock_engine_free(NULL);
  penstock_session_free(NULL);
  expect(penstock_session_submit(NULL, &frame, 0) == PENSTOCK_ERR_INVALID_ARGUMENT, "submit null session");
  expect(penstock_session_submit_end(NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "end of null session");
  expect(penstock_session_wait(NULL, 0, &count) == PENSTOCK_ERR_INVALID_ARGUMENT, "wait for null session");
  expect(penstock_session_cancel(NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "cancel null session");
  expect(penstock_session_set_seed(NULL, 0) == PENSTOCK_ERR_INVALID_ARGUMENT, "seed of null session");
  expect(penstock_session_set_noise_scale(NULL, 0) == PENSTOCK_ERR_INVALID_ARGUMENT, "noise of null session");
  expect(penstock_session_set_timesteps(NULL, NULL, 0) == PENSTOCK_ERR_INVALID_ARGUMENT, "timesteps of null session");
  expect(penstock_session_set_prompt_file(NULL, "x") == PENSTOCK_ERR_BAD_FILE, "prompt file that is not there");
  expect(penstock_session_set_prompt_file(NULL, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "null prompt file");
  expect(penstock_engine_video_info(NULL, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "video of null engine");
  penstock_video_info_init(NULL);
  penstock_session_params_init(NULL);
  penstock_frame_init(NULL);
  expect(strlen(penstock_last_error()) > 0, "a message after a failure");
  expect(strcmp(penstock_status_name((penstock_status)99), "unknown penstock_status") == 0, "name of a bad status");
  expect(strcmp(penstock_status_name((penstock_status)-9), "unknown penstock_status") == 0, "name of a bad status");
}

static void check_old_structs(void) {
  penstock_engine* engine = NULL;
  penstock_engine_params params;
  penstock_engine_params_init(&params);
  params.struct_size = 8; /* a host built when only `device` existed */
  params.device = PENSTOCK_DEVICE_CPU;
  params.threads = -5; /* beyond the old struct: must not be read */
  expect(penstock_engine_create(kPlan, sizeof kPlan - 1, &params, &engine) == PENSTOCK_OK, "old params");
  penstock_engine_free(engine);
  params.struct_size = 0;
  expect(penstock_engine_create(kPlan, sizeof kPlan - 1, &params, &engine) == PENSTOCK_ERR_INVALID_ARGUMENT, "size 0");
  penstock_engine_params_init(&params);
  expect(params.struct_size == sizeof params, "init sets struct_size");
  for (int i = 0; i < 2; ++i) {
    const int bad = i ? -1 : 77;
    params.device = (penstock_device)bad;
    expect(penstock_engine_create(kPlan, sizeof kPlan - 1, &params, &engine) == PENSTOCK_ERR_INVALID_ARGUMENT,
           "device");
    params.device = PENSTOCK_DEVICE_CPU;
    params.schedule = (penstock_schedule)bad;
    expect(penstock_engine_create(kPlan, sizeof kPlan - 1, &params, &engine) == PENSTOCK_ERR_INVALID_ARGUMENT, "when");
    params.schedule = PENSTOCK_SCHEDULE_LATENCY;
  }
  params.device = PENSTOCK_DEVICE_CUDA;
  expect(penstock_engine_create(kPlan, sizeof kPlan - 1, &params, &engine) == PENSTOCK_ERR_UNSUPPORTED, "no cuda");

  struct {
    penstock_system_info info;
  } guarded;
  memset(&guarded, 0x5a, sizeof guarded);
  guarded.info.struct_size = 8;
  expect(penstock_query_system(&guarded.info) == PENSTOCK_OK, "old info");
  expect(((unsigned char*)&guarded)[8] == 0x5a, "nothing is written past an old struct");
}

/* Fields are only ever appended: what is here keeps its place, and a struct that grew shows here. */
#define LAYOUT(type, size, last, offset) \
  _Static_assert(sizeof(type) == (size) && offsetof(type, last) == (offset), #type " changed its layout")
LAYOUT(penstock_tensor, 88, data, 80);
LAYOUT(penstock_tensor_info, 96, kind, 88);
LAYOUT(penstock_system_info, 448, cuda_memory_bytes, 440);
LAYOUT(penstock_engine_params, 72, schedule, 64);
LAYOUT(penstock_video_info, 28, takes_frames, 24);
LAYOUT(penstock_frame, 72, cuda_stream, 64);
LAYOUT(penstock_session_params, 24, deadline_ms, 16);
LAYOUT(penstock_session_stats, 104, max_latency_ms, 96);
LAYOUT(penstock_phase_stats, 32, total_ms, 24);

/* Calls with every prefix of a struct that the library fills: nothing behind it may change. */
#define CHECK_FILLED(type, call)                                                    \
  for (uint32_t size = 4; size <= sizeof(type); size += 4) {                        \
    type filled;                                                                    \
    memset(&filled, 0x5a, sizeof filled);                                           \
    filled.struct_size = size;                                                      \
    expect((call) == PENSTOCK_OK && filled.struct_size == size, #call);             \
    for (size_t i = size; i < sizeof filled; ++i)                                   \
      expect(((unsigned char*)&filled)[i] == 0x5a, #type ": written past its end"); \
  }

static void check_prefixes(penstock_engine* engine, penstock_session* session) {
  CHECK_FILLED(penstock_system_info, penstock_query_system(&filled))
  CHECK_FILLED(penstock_tensor_info, penstock_engine_tensor_info(engine, "x", &filled))
  CHECK_FILLED(penstock_session_stats, penstock_session_get_stats(session, &filled))
  CHECK_FILLED(penstock_phase_stats, penstock_session_get_phase_stats(session, "go", &filled))
  for (uint32_t size = 4; size <= sizeof(penstock_session_params); size += 4) {
    penstock_session* other = NULL;
    penstock_session_params params;
    memset(&params, 0x5a, sizeof params); /* what an old host does not know must not be read */
    penstock_session_params known;
    penstock_session_params_init(&known);
    memcpy(&params, &known, size);
    params.struct_size = size;
    expect(penstock_session_create(engine, &params, &other) == PENSTOCK_OK, "old session params");
    penstock_session_free(other);
  }
}

static void check_engine(void) {
  penstock_engine* engine = NULL;
  penstock_session* session = NULL;
  const float weight[2] = {2, 3};
  const float x[4] = {1, 10, 100, 1000};
  float y[2] = {0, 0};
  float level[2];
  expect(penstock_engine_create(kPlan, sizeof kPlan - 1, NULL, &engine) == PENSTOCK_OK, "create");
  expect(penstock_session_create(engine, NULL, &session) == PENSTOCK_ERR_BAD_WEIGHTS, "a session without weights");
  expect(strstr(penstock_last_error(), "'w' [1, 2]") != NULL, "the missing weight is named");
  penstock_tensor tensor = matrix_of(weight, 2, 1);
  expect(penstock_engine_set_weight(engine, "w", &tensor) == PENSTOCK_ERR_BAD_WEIGHTS, "wrong shape");
  tensor = matrix_of(weight, 1, 2);
  tensor.dtype = (penstock_dtype)41;
  expect(penstock_engine_set_weight(engine, "w", &tensor) == PENSTOCK_ERR_INVALID_ARGUMENT, "wrong dtype");
  tensor.dtype = (penstock_dtype)-1;
  expect(penstock_engine_set_weight(engine, "w", &tensor) == PENSTOCK_ERR_INVALID_ARGUMENT, "negative dtype");
  tensor.dtype = PENSTOCK_F32;
  tensor.ndim = 9;
  expect(penstock_engine_set_weight(engine, "w", &tensor) == PENSTOCK_ERR_INVALID_ARGUMENT, "too many dimensions");
  tensor = matrix_of(weight, 1, 2);
  expect(penstock_engine_set_weight(engine, "x", &tensor) == PENSTOCK_ERR_BAD_WEIGHTS, "not a weight");
  expect(penstock_engine_set_weight(engine, "w", &tensor) == PENSTOCK_OK, "weight");
  expect(penstock_session_create(engine, NULL, &session) == PENSTOCK_OK, "session");
  expect(penstock_engine_set_weight(engine, "w", &tensor) == PENSTOCK_ERR_INVALID_ARGUMENT, "weights are frozen");
  check_prefixes(engine, session);
  penstock_engine_free(engine); /* the session keeps what it needs */

  expect(penstock_session_write(session, "x", x, 12) == PENSTOCK_ERR_INVALID_ARGUMENT, "short write");
  expect(penstock_session_write(session, "w", x, 8) == PENSTOCK_ERR_INVALID_ARGUMENT, "write a weight");
  expect(penstock_session_write(session, "x", x, sizeof x) == PENSTOCK_OK, "write");
  expect(penstock_session_run(session, "stop") == PENSTOCK_ERR_INVALID_ARGUMENT, "unknown phase");
  expect(penstock_session_run(session, "go") == PENSTOCK_OK, "run");
  expect(penstock_session_read(session, "y", y, sizeof y) == PENSTOCK_OK, "read");
  expect(y[0] == 32 && y[1] == 3200, "the product");
  expect(penstock_session_read(session, "level", level, sizeof level) == PENSTOCK_OK, "read step state");
  expect(level[0] == 0.5f && level[1] == 0.5f, "initial step state");
  tensor = matrix_of(x, 1, 2);
  expect(penstock_session_set_prompt(session, &tensor) == PENSTOCK_ERR_UNSUPPORTED, "a plan without prompt");
  penstock_session_stats stats;
  penstock_session_stats_init(&stats);
  expect(penstock_session_get_stats(session, &stats) == PENSTOCK_OK, "stats");
  expect(stats.phases_run == 1 && stats.graph_replays == 0, "stats count phases");
  expect(stats.frames_in == 0 && stats.frames_out == 0 && stats.chunks == 0, "no frames");
  penstock_phase_stats phase;
  penstock_phase_stats_init(&phase);
  expect(penstock_session_get_phase_stats(session, "go", &phase) == PENSTOCK_OK && phase.runs == 1, "phase stats");
  expect(phase.total_ms == phase.last_ms && phase.last_ms == stats.last_phase_ms, "one run, one time");
  expect(penstock_session_get_phase_stats(session, "stop", &phase) == PENSTOCK_ERR_INVALID_ARGUMENT, "no such phase");
  int64_t count = 7;
  penstock_frame frame;
  penstock_frame_init(&frame);
  expect(penstock_session_push(session, &frame) == PENSTOCK_ERR_UNSUPPORTED, "push without video phases");
  expect(strstr(penstock_last_error(), "no video phases") != NULL, "push says why");
  expect(penstock_session_pull(session, &frame) == PENSTOCK_ERR_UNSUPPORTED, "pull without video phases");
  const int32_t timestep = 700;
  expect(penstock_session_set_timesteps(session, &timestep, 1) == PENSTOCK_ERR_UNSUPPORTED, "a plan without timesteps");
  penstock_picture* picture = (penstock_picture*)&frame;
  expect(penstock_session_take(session, &frame, &picture) == PENSTOCK_ERR_UNSUPPORTED, "take without video phases");
  expect(!picture, "no picture");
  expect(penstock_session_flush(session) == PENSTOCK_ERR_UNSUPPORTED, "flush without video phases");
  expect(penstock_session_poll(session, &count) == PENSTOCK_OK && count == 0, "nothing is there");
  expect(penstock_session_poll(session, NULL) == PENSTOCK_ERR_INVALID_ARGUMENT, "poll to null");
  penstock_session_free(session);
}

int main(void) {
  check_nulls();
  check_old_structs();
  check_engine();
  return problems != 0;
}
