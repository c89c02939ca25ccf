/* penstock.h: the public C interface of penstock, a real-time video-diffusion runtime.
 *
 * An engine is a plan (a static list of ops over named tensors) with its weights, on one device. It is immutable once
 * its weights are set and may be shared by any number of sessions. A session is one stream's state: rolling KV cache,
 * latents, step state. One thread at a time may use a session; different sessions may run on different threads.
 *
 * Every call returns a penstock_status; penstock_last_error() gives the message of the last failed call on the calling
 * thread. No call aborts, exits or throws. Parameter structs begin with struct_size and are filled by their _init
 * function; new fields are only ever appended.
 */
#ifndef PENSTOCK_PENSTOCK_H
#define PENSTOCK_PENSTOCK_H

#include <stddef.h>
#include <stdint.h>

#define PENSTOCK_VERSION_MAJOR 0
#define PENSTOCK_VERSION_MINOR 1
#define PENSTOCK_VERSION_PATCH 0
#define PENSTOCK_VERSION (PENSTOCK_VERSION_MAJOR * 10000 + PENSTOCK_VERSION_MINOR * 100 + PENSTOCK_VERSION_PATCH)

#if defined(_WIN32)
#define PENSTOCK_API __declspec(dllexport)
#else
#define PENSTOCK_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---------------------------------------------------------------------------------------------------- */

typedef enum penstock_status {
  PENSTOCK_OK = 0,
  PENSTOCK_ERR_INVALID_ARGUMENT = 1, /* a null pointer, an unknown name, a wrong size */
  PENSTOCK_ERR_BAD_FILE = 2,         /* a file that cannot be read or is malformed */
  PENSTOCK_ERR_BAD_PLAN = 3,         /* a plan that is malformed or breaks an op's contract */
  PENSTOCK_ERR_BAD_WEIGHTS = 4,      /* missing, unexpected or ill-shaped weights */
  PENSTOCK_ERR_OUT_OF_MEMORY = 5,
  PENSTOCK_ERR_UNSUPPORTED = 6, /* a device or format that this build does not have */
  PENSTOCK_ERR_INTERNAL = 7,
  PENSTOCK_ERR_DEVICE = 8 /* the device or its driver failed; sessions on it cannot go on */
} penstock_status;

/* Name of a status, for instance "PENSTOCK_ERR_BAD_PLAN". Never null. */
PENSTOCK_API const char* penstock_status_name(penstock_status status);

/* Message of the last failed call on this thread; valid until this thread's next failing call. Never null. */
PENSTOCK_API const char* penstock_last_error(void);

/* PENSTOCK_VERSION of the library that is loaded, and the same as text ("0.1.0"). */
PENSTOCK_API uint32_t penstock_version(void);
PENSTOCK_API const char* penstock_version_string(void);

/* ---- tensors --------------------------------------------------------------------------------------------------- */

typedef enum penstock_dtype {
  PENSTOCK_F32 = 0,
  PENSTOCK_BF16 = 1,
  PENSTOCK_F16 = 2,
  PENSTOCK_U8 = 3,
  PENSTOCK_I32 = 4,
  PENSTOCK_I64 = 5,
  PENSTOCK_U64 = 6,
  PENSTOCK_DTYPE_MAX_ENUM = 0x7fffffff /* any int may come in: it is checked, never undefined */
} penstock_dtype;

#define PENSTOCK_MAX_DIMS 8

/* A dense row-major tensor in host memory, owned by the caller. */
typedef struct penstock_tensor {
  uint32_t struct_size;
  penstock_dtype dtype;
  int32_t ndim;
  int64_t shape[PENSTOCK_MAX_DIMS];
  const void* data;
} penstock_tensor;

/* What a plan says of one of its tensors. `kind` is "weight", "state", "scratch", "input", "output", "view" or "step";
 * it is a static string. `dtype` is what the engine's device stores. */
typedef struct penstock_tensor_info {
  uint32_t struct_size;
  penstock_dtype dtype;
  int32_t ndim;
  int64_t shape[PENSTOCK_MAX_DIMS];
  uint64_t size_bytes;
  const char* kind;
} penstock_tensor_info;

/* ---- what this library and machine offer ------------------------------------------------------------------------ */

typedef struct penstock_system_info {
  uint32_t struct_size;
  int32_t has_cuda_backend;    /* 1 if this library was built with CUDA kernels */
  int32_t cuda_driver_version; /* for instance 13000; 0 if no driver could be loaded */
  int32_t cuda_device_count;
  char cuda_device_name[128]; /* first device; empty if none */
  char cuda_problem[160];     /* why CUDA cannot be used here; empty if it can */
  char blas[64];              /* CPU matrix product, for instance "OpenBLAS 0.3.21" or "plain" */
  char compiler[64];
  int32_t cpu_threads;        /* threads that the CPU backend uses by default */
  uint64_t cuda_memory_bytes; /* of the first device, in use or not */
} penstock_system_info;

PENSTOCK_API void penstock_system_info_init(penstock_system_info* info);
PENSTOCK_API penstock_status penstock_query_system(penstock_system_info* info);

/* Checks a plan (JSON text) without weights: structure, lifetimes, and every op's contract. */
PENSTOCK_API penstock_status penstock_check_plan(const char* plan_json, size_t size);

/* ---- engine ----------------------------------------------------------------------------------------------------- */

typedef struct penstock_engine penstock_engine;
typedef struct penstock_session penstock_session;

typedef enum penstock_device {
  PENSTOCK_DEVICE_AUTO = 0,
  PENSTOCK_DEVICE_CPU = 1,
  PENSTOCK_DEVICE_CUDA = 2,
  PENSTOCK_DEVICE_MAX_ENUM = 0x7fffffff
} penstock_device;

typedef enum penstock_log_level {
  PENSTOCK_LOG_INFO = 0,
  PENSTOCK_LOG_WARNING = 1,
  PENSTOCK_LOG_ERROR = 2
} penstock_log_level;

/* When the frames of a chunk come out. Both give the same frames, to the bit. */
typedef enum penstock_schedule {
  PENSTOCK_SCHEDULE_LATENCY = 0,    /* of the push that completed it */
  PENSTOCK_SCHEDULE_THROUGHPUT = 1, /* two chunks later; encoder, denoiser and decoder work side by side */
  PENSTOCK_SCHEDULE_MAX_ENUM = 0x7fffffff
} penstock_schedule;

typedef void (*penstock_log_callback)(penstock_log_level level, const char* message, void* user);

typedef struct penstock_engine_params {
  uint32_t struct_size;
  penstock_device device;
  int32_t threads; /* CPU backend; 0 = all cores this process may use */
  penstock_log_callback log;
  void* log_user;
  /* An engine of the same model, or null. The new engine is on its device, with its threads; a weight that is equal to
   * one of its (name, shape, type and every byte as stored) is shared with it, neither uploaded nor stored again. */
  const penstock_engine* weights_from;
  penstock_schedule schedule; /* of the engine's sessions */
} penstock_engine_params;

PENSTOCK_API void penstock_engine_params_init(penstock_engine_params* params);

/* Opens an engine directory {plan.json, weights.safetensors} that `penstock build` wrote. `params` may be null. */
PENSTOCK_API penstock_status penstock_engine_open(const char* directory, const penstock_engine_params* params,
                                                  penstock_engine** engine);

/* Creates an engine from a plan's JSON text, without weights: penstock_engine_set_weight sets them one by one. */
PENSTOCK_API penstock_status penstock_engine_create(const char* plan_json, size_t size,
                                                    const penstock_engine_params* params, penstock_engine** engine);

/* Copies one weight to the device (F32, BF16 or F16, converted to the device's type). Not thread-safe; before the
 * first session only. */
PENSTOCK_API penstock_status penstock_engine_set_weight(penstock_engine* engine, const char* name,
                                                        const penstock_tensor* value);

PENSTOCK_API penstock_status penstock_engine_tensor_info(const penstock_engine* engine, const char* name,
                                                         penstock_tensor_info* info);

/* Releases the caller's handle. Sessions keep what they need: any order of freeing is fine. Null is allowed. */
PENSTOCK_API void penstock_engine_free(penstock_engine* engine);

/* ---- session ---------------------------------------------------------------------------------------------------- */

/* Device bytes that one session of this engine takes (its state, inputs, outputs and scratch; not the weights). */
PENSTOCK_API penstock_status penstock_session_memory_required(const penstock_engine* engine, uint64_t* bytes);

/* Fails with PENSTOCK_ERR_BAD_WEIGHTS, listing them, while weights are missing. */
PENSTOCK_API penstock_status penstock_session_create(const penstock_engine* engine, penstock_session** session);

/* Back to the state after creation: caches zero, step state at its initial values, no frames waiting in or out. The
 * prompt must be set again; the configuration of the last switch stays. */
PENSTOCK_API penstock_status penstock_session_reset(penstock_session* session);

/* Copies `size` bytes into or out of a whole input, state, output or step-state tensor by its plan name. */
PENSTOCK_API penstock_status penstock_session_write(penstock_session* session, const char* name, const void* data,
                                                    size_t size);
PENSTOCK_API penstock_status penstock_session_read(penstock_session* session, const char* name, void* data,
                                                   size_t size);

/* Sets the prompt from text embeddings [rows, text_dim] (F32, BF16 or F16; rows <= text_len, the rest is padding) and
 * computes the per-prompt constants. Allowed between any two chunks. */
PENSTOCK_API penstock_status penstock_session_set_prompt(penstock_session* session, const penstock_tensor* embeddings);

/* Runs one phase of the plan, for instance "denoise", to its end. */
PENSTOCK_API penstock_status penstock_session_run(penstock_session* session, const char* phase);

/* ---- video: frames in, frames out ------------------------------------------------------------------------------- */

/* Takes `count` frames, RGB8 [count, height, width, 3] without gaps, of the size of the plan's tensor "frames", and
 * runs every chunk that they complete before it returns. A chunk is 4 frames, the first one 5. Pushed frames that do
 * not complete a chunk yet wait for the next call. PENSTOCK_ERR_INVALID_ARGUMENT after penstock_session_flush. */
PENSTOCK_API penstock_status penstock_session_push(penstock_session* session, const uint8_t* frames, int64_t count);

/* Text-to-video plans, which take no frames: makes `chunks` chunks from noise. */
PENSTOCK_API penstock_status penstock_session_generate(penstock_session* session, int64_t chunks);

/* Ends the stream: completes the last chunk with copies of its last frame and empties the stream batch, so that every
 * pushed frame has exactly one frame out. Then only pull, reset and free are of use; flushing again does nothing. */
PENSTOCK_API penstock_status penstock_session_flush(penstock_session* session);

/* Finished frames that wait to be pulled. They appear steps - 1 chunks late in a stream batch, and two more under
 * PENSTOCK_SCHEDULE_THROUGHPUT. */
PENSTOCK_API penstock_status penstock_session_available(const penstock_session* session, int64_t* frames);

/* Moves up to `capacity` finished frames, in order, to `frames` [capacity, height, width, 3]; `count` says how many. */
PENSTOCK_API penstock_status penstock_session_pull(penstock_session* session, uint8_t* frames, int64_t capacity,
                                                   int64_t* count);

/* Several configurations of one model over one stream: other steps, mode, history, timesteps, clean_context,
 * noise_scale or sink_threshold, and all else the same. Their engines are created with `weights_from`.
 *
 * penstock_session_prepare makes ready what a switch to `engine` needs, memory and graphs, and keeps it for as long as
 * the session lives; a switch then costs less than a chunk. What the stream keeps in either (the rings of the
 * autoencoder, the prompt) is not allocated again. Prepare the engine that the session was created with, too, if the
 * stream is to come back to it.
 *
 * penstock_session_switch goes on with `engine` from the next chunk on. Chunks in the stream batch are finished first:
 * their frames wait to be pulled. The picture goes on: prompt, seed, noise scale, frames that wait for their chunk,
 * positions and rolling caches stay; the timesteps become the configuration's own. For sessions that are driven by push
 * or generate. PENSTOCK_ERR_UNSUPPORTED, and nothing has changed, if the stream cannot go on with `engine`. */
PENSTOCK_API penstock_status penstock_session_prepare(penstock_session* session, const penstock_engine* engine);
PENSTOCK_API penstock_status penstock_session_switch(penstock_session* session, const penstock_engine* engine);

/* ---- statistics ------------------------------------------------------------------------------------------------- */

typedef struct penstock_session_stats {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t phases_run;
  uint64_t graph_replays; /* phases that ran as a replayed graph; 0 on the CPU backend */
  double last_phase_ms;
  uint64_t frames_in;  /* pushed since creation or reset */
  uint64_t frames_out; /* finished since then, pulled or not */
  uint64_t chunks;     /* run since then, the first one included */
} penstock_session_stats;

PENSTOCK_API void penstock_session_stats_init(penstock_session_stats* stats);
PENSTOCK_API penstock_status penstock_session_get_stats(penstock_session* session, penstock_session_stats* stats);

/* Time of one phase of the plan since the session's creation; on a GPU measured there. */
typedef struct penstock_phase_stats {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t runs;
  double last_ms;
  double total_ms;
} penstock_phase_stats;

PENSTOCK_API void penstock_phase_stats_init(penstock_phase_stats* stats);
PENSTOCK_API penstock_status penstock_session_get_phase_stats(penstock_session* session, const char* phase,
                                                              penstock_phase_stats* stats);

PENSTOCK_API void penstock_session_free(penstock_session* session);

#ifdef __cplusplus
}
#endif

#endif /* PENSTOCK_PENSTOCK_H */
