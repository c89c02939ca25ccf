/* penstock.h: the public C interface of penstock, a real-time video-diffusion runtime. C11 and C++17.
 *
 * An engine is a plan (a static list of ops over named tensors) with its weights, on one device. It is immutable once
 * its weights are set and may be shared by any number of sessions. A session is one stream's state: rolling KV cache,
 * latents, step state. docs/embedding.md is the guide to this header.
 *
 * Errors. Every call that can fail returns a penstock_status; penstock_last_error() gives the message of the last
 * failed call on the calling thread. No call aborts, exits or throws. A failed call changes nothing, unless it says
 * otherwise.
 *
 * Threads. Each function says which of three rules holds for it:
 *   [any thread]   may be called at any time from any thread, also while another thread is in a call on the same
 * object; [one at a time] one thread at a time per session: a second one gets PENSTOCK_ERR_BUSY and nothing happens.
 * Such a call waits for the chunk that the session's worker is at, and holds the worker until it returns; [alone] no
 * other thread may use the object during the call: the host sees to it. Different sessions, of one engine or of
 * several, may be used on different threads without any rule.
 *
 * Ownership. Pointers handed in are read or written during the call only, unless it says otherwise. Objects that a
 * _create or _open function gives are the caller's, until the matching _free.
 *
 * Versions. Parameter structs begin with struct_size and are filled by their _init function; new fields are only ever
 * appended, and a struct of an older header, which is shorter, means the defaults for what it lacks.
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

/* Any int may come in as an enum: it is checked, and never undefined behaviour. That is what the int is for in C++, and
 * the members _MAX_ENUM in C. */
#ifdef __cplusplus
#define PENSTOCK_ENUM_BASE : int
#else
#define PENSTOCK_ENUM_BASE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---------------------------------------------------------------------------------------------------- */

typedef enum penstock_status PENSTOCK_ENUM_BASE {
  PENSTOCK_OK = 0,
  PENSTOCK_ERR_INVALID_ARGUMENT = 1, /* a null pointer, an unknown name, a wrong size */
  PENSTOCK_ERR_BAD_FILE = 2,         /* a file that cannot be read or is malformed */
  PENSTOCK_ERR_BAD_PLAN = 3,         /* a plan that is malformed or breaks an op's contract */
  PENSTOCK_ERR_BAD_WEIGHTS = 4,      /* missing, unexpected or ill-shaped weights */
  PENSTOCK_ERR_OUT_OF_MEMORY = 5,
  PENSTOCK_ERR_UNSUPPORTED = 6, /* a device or format that this build does not have */
  PENSTOCK_ERR_INTERNAL = 7,
  PENSTOCK_ERR_DEVICE = 8,     /* the device or its driver failed; sessions on it cannot go on */
  PENSTOCK_ERR_BUSY = 9,       /* another thread is in a call on this session */
  PENSTOCK_ERR_CANCELLED = 10, /* penstock_session_cancel was called; reset the session to go on */
  PENSTOCK_NOT_READY = 11,     /* not an error: no frame, or no room for one, within the time given */
  PENSTOCK_STATUS_MAX_ENUM = 0x7fffffff
} penstock_status;

/* Name of a status, for instance "PENSTOCK_ERR_BAD_PLAN". Never null. [any thread] */
PENSTOCK_API const char* penstock_status_name(penstock_status status);

/* Message of the last failed call on this thread; valid until this thread's next failing call. Never null.
 * [any thread] */
PENSTOCK_API const char* penstock_last_error(void);

/* PENSTOCK_VERSION of the library that is loaded, and the same as text ("0.1.0"). [any thread] */
PENSTOCK_API uint32_t penstock_version(void);
PENSTOCK_API const char* penstock_version_string(void);

/* ---- tensors --------------------------------------------------------------------------------------------------- */

typedef enum penstock_dtype PENSTOCK_ENUM_BASE {
  PENSTOCK_F32 = 0,
  PENSTOCK_BF16 = 1,
  PENSTOCK_F16 = 2,
  PENSTOCK_U8 = 3,
  PENSTOCK_I32 = 4,
  PENSTOCK_I64 = 5,
  PENSTOCK_U64 = 6,
  PENSTOCK_DTYPE_MAX_ENUM = 0x7fffffff
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
  int32_t has_cuda_sources;   /* 1 if its kernels in CUDA C++ were compiled as well, which needs nvcc */
  uint64_t cuda_memory_bytes; /* of the first device, in use or not */
} penstock_system_info;

/* [any thread] */
PENSTOCK_API void penstock_system_info_init(penstock_system_info* info);
PENSTOCK_API penstock_status penstock_query_system(penstock_system_info* info);

/* Checks a plan (JSON text) without weights: structure, lifetimes, and every op's contract. [any thread] */
PENSTOCK_API penstock_status penstock_check_plan(const char* plan_json, size_t size);

/* ---- engine ----------------------------------------------------------------------------------------------------- */

typedef struct penstock_engine penstock_engine;
typedef struct penstock_session penstock_session;

typedef enum penstock_device PENSTOCK_ENUM_BASE {
  PENSTOCK_DEVICE_AUTO = 0,
  PENSTOCK_DEVICE_CPU = 1,
  PENSTOCK_DEVICE_CUDA = 2,
  PENSTOCK_DEVICE_MAX_ENUM = 0x7fffffff
} penstock_device;

typedef enum penstock_log_level PENSTOCK_ENUM_BASE {
  PENSTOCK_LOG_INFO = 0,
  PENSTOCK_LOG_WARNING = 1,
  PENSTOCK_LOG_ERROR = 2,
  PENSTOCK_LOG_LEVEL_MAX_ENUM = 0x7fffffff
} penstock_log_level;

/* When the frames of a chunk come out. Both give the same frames, to the bit. */
typedef enum penstock_schedule PENSTOCK_ENUM_BASE {
  PENSTOCK_SCHEDULE_LATENCY = 0,    /* of the push that completed it */
  PENSTOCK_SCHEDULE_THROUGHPUT = 1, /* two chunks later; encoder, denoiser and decoder work side by side */
  PENSTOCK_SCHEDULE_MAX_ENUM = 0x7fffffff
} penstock_schedule;

/* Called on the thread that has something to say, a session's worker included; it must not call penstock. `message` is
 * one line, valid during the call. */
typedef void (*penstock_log_callback)(penstock_log_level level, const char* message, void* user);

/* A host's own memory for what an engine and its sessions keep on their device (weights, states, scratch): host memory
 * on the CPU backend, device memory (a CUdeviceptr as a pointer, in the device's primary context, which is current) on
 * CUDA. `allocate` returns null to refuse, which becomes PENSTOCK_ERR_OUT_OF_MEMORY; the memory need not be zeroed.
 * They are called on the threads that create and free engines and sessions, perhaps several at once, and must not call
 * penstock. A CUDA release waits for the device, as cuMemFree does. Bookkeeping and waiting frames are not theirs. */
typedef void* (*penstock_allocate_callback)(size_t bytes, size_t alignment, void* user);
typedef void (*penstock_release_callback)(void* memory, size_t bytes, void* user);

typedef struct penstock_engine_params {
  uint32_t struct_size;
  penstock_device device;
  int32_t threads;           /* CPU backend; 0 = all cores this process may use */
  penstock_log_callback log; /* null: silent. Used until the engine and all its sessions are freed, as is the rest */
  void* log_user;
  penstock_allocate_callback allocate; /* both or none; none with weights_from, whose engine's are used */
  penstock_release_callback release;
  void* allocator_user;
  /* An engine of the same model, or null. The new engine is on its device, with its threads; a weight that is equal to
   * one of its (name, shape, type and every byte as stored) is shared with it, neither uploaded nor stored again. */
  const penstock_engine* weights_from;
  penstock_schedule schedule; /* of the engine's sessions */
} penstock_engine_params;

/* [any thread] */
PENSTOCK_API void penstock_engine_params_init(penstock_engine_params* params);

/* Opens an engine directory {plan.json, weights.safetensors, perhaps prompt.safetensors} that `penstock build` wrote.
 * The prompt, if there is one, is what its sessions begin with. On a CUDA device the first opening measures matrix
 * products, for 2 s at most, and writes its choices into the directory, if that can be written. `params` may be null.
 * [any thread] */
PENSTOCK_API penstock_status penstock_engine_open(const char* directory, const penstock_engine_params* params,
                                                  penstock_engine** engine);

/* Creates an engine from a plan's JSON text, without weights: penstock_engine_set_weight sets them one by one.
 * [any thread] */
PENSTOCK_API penstock_status penstock_engine_create(const char* plan_json, size_t size,
                                                    const penstock_engine_params* params, penstock_engine** engine);

/* Copies one weight to the device (F32, BF16 or F16, converted to the device's type); before the first session only.
 * [alone] */
PENSTOCK_API penstock_status penstock_engine_set_weight(penstock_engine* engine, const char* name,
                                                        const penstock_tensor* value);

/* [any thread] */
PENSTOCK_API penstock_status penstock_engine_tensor_info(const penstock_engine* engine, const char* name,
                                                         penstock_tensor_info* info);

/* What the video phases of a plan take and give. */
typedef struct penstock_video_info {
  uint32_t struct_size;
  int32_t width; /* pixels of the frames, in and out */
  int32_t height;
  int32_t first_chunk_frames; /* frames that the first chunk takes and gives: 5 */
  int32_t chunk_frames;       /* and every later one: 4 */
  int32_t delay_chunks;       /* chunks that a stream batch holds back: finished frames come so much later */
  int32_t takes_frames;       /* 1: video-to-video; 0: text-to-video, penstock_session_generate makes frames */
} penstock_video_info;

/* PENSTOCK_ERR_UNSUPPORTED for a plan without video phases. [any thread] */
PENSTOCK_API void penstock_video_info_init(penstock_video_info* info);
PENSTOCK_API penstock_status penstock_engine_video_info(const penstock_engine* engine, penstock_video_info* info);

/* Releases the caller's handle. Sessions keep what they need: any order of freeing is fine. Null is allowed. [alone] */
PENSTOCK_API void penstock_engine_free(penstock_engine* engine);

/* ---- frames ----------------------------------------------------------------------------------------------------- */

typedef enum penstock_pixel_format PENSTOCK_ENUM_BASE {
  PENSTOCK_RGB8 = 0,  /* R, G, B, a byte each */
  PENSTOCK_RGBA8 = 1, /* alpha is ignored going in, 255 coming out */
  PENSTOCK_BGRA8 = 2,
  PENSTOCK_NV12 = 3, /* plane 0: Y; plane 1: Cb and Cr in turn for every 2x2 pixels; width and height are even */
  PENSTOCK_PIXEL_FORMAT_MAX_ENUM = 0x7fffffff
} penstock_pixel_format;

/* What the Y, Cb and Cr of an NV12 frame mean. */
typedef enum penstock_color PENSTOCK_ENUM_BASE {
  PENSTOCK_BT709_LIMITED = 0, /* HD video: Y 16 to 235 */
  PENSTOCK_BT709_FULL = 1,
  PENSTOCK_BT601_LIMITED = 2, /* SD video */
  PENSTOCK_BT601_FULL = 3,    /* JPEG */
  PENSTOCK_COLOR_MAX_ENUM = 0x7fffffff
} penstock_color;

typedef enum penstock_memory PENSTOCK_ENUM_BASE {
  PENSTOCK_MEMORY_HOST = 0,
  PENSTOCK_MEMORY_CUDA = 1, /* of the engine's device, an engine on CUDA */
  PENSTOCK_MEMORY_MAX_ENUM = 0x7fffffff
} penstock_memory;

/* One picture in the caller's memory: read by push and submit, written by pull.
 *
 * The engine computes in RGB8; other formats are converted in integer arithmetic, exact to half a step.
 * One Cb, Cr pair counts for its four pixels alike, and comes out as that of their mean.
 *
 * `timestamp` is any number of the host's (its clock, a frame count); it comes out again with the frame in its place.
 */
typedef struct penstock_frame {
  uint32_t struct_size;
  penstock_pixel_format format;
  penstock_memory memory;
  penstock_color color; /* of NV12 */
  int32_t width;        /* pixels; must be those of the plan */
  int32_t height;
  void* planes[2];    /* the first row as seen; the second plane of NV12 only */
  int64_t strides[2]; /* bytes from a row to the one below; 0: no gaps; may be negative (bottom-up) */
  int64_t timestamp;
  void* cuda_stream; /* CUDA frames: the CUstream in whose order they are read or written; null: the default stream */
} penstock_frame;

/* Defaults: RGB8, host, BT709_LIMITED; no size, no planes. [any thread] */
PENSTOCK_API void penstock_frame_init(penstock_frame* frame);

/* ---- session ---------------------------------------------------------------------------------------------------- */

/* What happens to a frame that is submitted faster than the model runs. */
typedef enum penstock_queue_policy PENSTOCK_ENUM_BASE {
  PENSTOCK_QUEUE_BLOCK = 0,       /* submit waits for room: no frame is lost */
  PENSTOCK_QUEUE_DROP_OLDEST = 1, /* when the queue is full its oldest frame goes: at most queue_frames of delay */
  PENSTOCK_QUEUE_LATEST_WINS = 2, /* each chunk takes the newest frames, older ones go: the least delay */
  PENSTOCK_QUEUE_POLICY_MAX_ENUM = 0x7fffffff
} penstock_queue_policy;

typedef struct penstock_session_params {
  uint32_t struct_size;
  penstock_queue_policy queue_policy;
  int32_t queue_frames;          /* that wait at most, on each side; at least the first chunk's. Default 16 */
  penstock_memory output_memory; /* where finished frames wait; CUDA: on the device, pull takes CUDA frames */
  double deadline_ms;            /* from push or submit to finished; a later frame counts as a miss. 0: none */
} penstock_session_params;

/* [any thread] */
PENSTOCK_API void penstock_session_params_init(penstock_session_params* params);

/* Device bytes that one session of this engine takes (its state, inputs, outputs and scratch; not the weights, and not
 * the frames in its queues). [any thread] */
PENSTOCK_API penstock_status penstock_session_memory_required(const penstock_engine* engine, uint64_t* bytes);

/* Fails with PENSTOCK_ERR_BAD_WEIGHTS, listing them, while weights are missing. `params` may be null. [any thread] */
PENSTOCK_API penstock_status penstock_session_create(const penstock_engine* engine,
                                                     const penstock_session_params* params, penstock_session** session);

/* Back to the state after creation: caches zero, step state at its initial values, no frames waiting in or out, no
 * cancel, no error. The configuration of the last switch stays. A prompt of the engine directory is set again, another
 * one the caller must set. [one at a time] */
PENSTOCK_API penstock_status penstock_session_reset(penstock_session* session);

/* Stops what runs: calls in progress return PENSTOCK_ERR_CANCELLED before their next phase, and so do all later ones,
 * but stats, reset, free, and pull and poll while finished frames are there. Does not wait. [any thread] */
PENSTOCK_API penstock_status penstock_session_cancel(penstock_session* session);

/* Copies `size` bytes into or out of a whole input, state, output or step-state tensor by its plan name.
 * [one at a time] */
PENSTOCK_API penstock_status penstock_session_write(penstock_session* session, const char* name, const void* data,
                                                    size_t size);
PENSTOCK_API penstock_status penstock_session_read(penstock_session* session, const char* name, void* data,
                                                   size_t size);

/* ---- live parameters: allowed between any two chunks, and count from the next one on ------------------------------
 */

/* Sets the prompt from text embeddings [rows, text_dim] (F32, BF16 or F16; rows <= text_len, the rest is padding) and
 * computes the per-prompt constants. [one at a time] */
PENSTOCK_API penstock_status penstock_session_set_prompt(penstock_session* session, const penstock_tensor* embeddings);

/* The same from a file that `penstock embed` or `penstock build --prompt` wrote. [one at a time] */
PENSTOCK_API penstock_status penstock_session_set_prompt_file(penstock_session* session, const char* path);

/* Share of noise in the input, 0 to 1; higher follows the prompt more. Video-to-video only. [one at a time] */
PENSTOCK_API penstock_status penstock_session_set_noise_scale(penstock_session* session, float noise_scale);

/* Key of all noise: the same seed, inputs and settings give the same frames. 0 at first. [one at a time] */
PENSTOCK_API penstock_status penstock_session_set_seed(penstock_session* session, uint64_t seed);

/* One timestep, 1 to 1000, for each of the plan's denoising steps, the noisiest first; with the noise controller the
 * first one follows the motion. Chunks in a stream batch go on by the new list. Another number of steps is another
 * configuration: penstock_session_switch. [one at a time] */
PENSTOCK_API penstock_status penstock_session_set_timesteps(penstock_session* session, const int32_t* timesteps,
                                                            size_t count);

/* Runs one phase of the plan, for instance "denoise", to its end. [one at a time] */
PENSTOCK_API penstock_status penstock_session_run(penstock_session* session, const char* phase);

/* ---- video, blocking: the calling thread runs the model -----------------------------------------------------------
 */

/* Takes one frame, and runs the chunk that it completes before it returns. A chunk is 4 frames, the first one 5; other
 * frames wait for theirs. A host frame may be changed after the call; a CUDA frame in the order of its stream.
 * PENSTOCK_ERR_INVALID_ARGUMENT after penstock_session_flush, and where the stream is driven by submit.
 * If the model fails, the stream stops: reset the session. [one at a time] */
PENSTOCK_API penstock_status penstock_session_push(penstock_session* session, const penstock_frame* frame);

/* Text-to-video plans, which take no frames: makes `chunks` chunks from noise. [one at a time] */
PENSTOCK_API penstock_status penstock_session_generate(penstock_session* session, int64_t chunks);

/* Ends the stream: completes the last chunk with copies of its last frame and empties the stream batch, so that every
 * frame in has exactly one frame out. Then only pull, reset and free are of use; flushing again does nothing.
 * [one at a time] */
PENSTOCK_API penstock_status penstock_session_flush(penstock_session* session);

/* ---- video, not blocking: a thread of the session runs the model --------------------------------------------------
 */

/* Copies one frame into the session's queue and returns; the session's worker, which the first submit starts, runs the
 * chunks. A full queue does what the session's policy says; under PENSTOCK_QUEUE_BLOCK this waits up to `timeout_ms`
 * (0: not at all, negative: for ever) and then gives PENSTOCK_NOT_READY: the frame was not taken. An error of the
 * worker comes back from here, poll and wait. A stream is driven by push or by submit; reset allows the other. [any
 * thread] */
PENSTOCK_API penstock_status penstock_session_submit(penstock_session* session, const penstock_frame* frame,
                                                     int64_t timeout_ms);

/* The frame submitted last was the stream's last: the worker flushes behind it. Does not wait. [any thread] */
PENSTOCK_API penstock_status penstock_session_submit_end(penstock_session* session);

/* Waits up to `timeout_ms` (negative: for ever) for finished frames and gives their number. PENSTOCK_OK with 0 frames:
 * none will come, the stream has ended. PENSTOCK_NOT_READY: none within the time. [any thread] */
PENSTOCK_API penstock_status penstock_session_wait(penstock_session* session, int64_t timeout_ms, int64_t* frames);

/* ---- finished frames ----------------------------------------------------------------------------------------------
 */

/* Finished frames that wait to be pulled. Fails with the worker's error, if it has one and no frames wait.
 * [any thread] */
PENSTOCK_API penstock_status penstock_session_poll(penstock_session* session, int64_t* frames);

/* Moves the oldest finished frame into the caller's picture, in its format, and sets `timestamp`. PENSTOCK_NOT_READY if
 * there is none. A CUDA frame is complete in the order of its stream; nothing waits. [any thread] */
PENSTOCK_API penstock_status penstock_session_pull(penstock_session* session, penstock_frame* frame);

/* The oldest finished frame where it lies, without a copy. */
typedef struct penstock_picture penstock_picture;

/* Takes it out of the session and fills all of `frame`: RGB8 without gaps, in the session's output_memory, with its
 * timestamp. Its plane may be read and written until the picture is freed, also when the session is gone. A CUDA
 * picture is complete in the order of the `cuda_stream` that `frame` brings; nothing waits. PENSTOCK_NOT_READY, and a
 * null picture, if there is none. [any thread] */
PENSTOCK_API penstock_status penstock_session_take(penstock_session* session, penstock_frame* frame,
                                                   penstock_picture** picture);

/* A CUDA picture is complete in the order of this stream, too. [any thread] */
PENSTOCK_API penstock_status penstock_picture_order(penstock_picture* picture, void* cuda_stream);

/* Gives the memory back. That of a CUDA picture is used again behind what stands in `cuda_stream` now. Null is allowed.
 * [alone] */
PENSTOCK_API void penstock_picture_free(penstock_picture* picture, void* cuda_stream);

/* ---- several configurations over one stream ------------------------------------------------------------------------
 *
 * Other steps, mode, history, timesteps, clean_context, noise_scale or sink_threshold, and all else the same. Their
 * engines are created with `weights_from`. */

/* Makes ready what a switch to `engine` needs, memory and graphs, and keeps it for as long as the session lives; a
 * switch then costs less than a chunk. What the stream keeps in either (the rings of the autoencoder, the prompt) is
 * not allocated again. Prepare the engine that the session was created with, too, if the stream is to come back to it.
 * [one at a time] */
PENSTOCK_API penstock_status penstock_session_prepare(penstock_session* session, const penstock_engine* engine);

/* Goes on with `engine` from the next chunk on. Chunks in the stream batch are finished first: their frames wait to be
 * pulled. The picture goes on: prompt, seed, noise scale, frames that wait for their chunk, positions and rolling
 * caches stay; the timesteps become the configuration's own. PENSTOCK_ERR_UNSUPPORTED, and nothing has changed, if the
 * stream cannot go on with `engine`. [one at a time] */
PENSTOCK_API penstock_status penstock_session_switch(penstock_session* session, const penstock_engine* engine);

/* ---- statistics ------------------------------------------------------------------------------------------------- */

typedef struct penstock_session_stats {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t phases_run;
  uint64_t graph_replays; /* phases that ran as a replayed graph; 0 on the CPU backend */
  double last_phase_ms;
  uint64_t frames_in;       /* pushed or submitted since creation or reset */
  uint64_t frames_out;      /* finished since then, pulled or not */
  uint64_t chunks;          /* run since then, the first one included */
  uint64_t frames_dropped;  /* of frames_in: that a policy dropped before the model */
  uint64_t outputs_dropped; /* of frames_out: that a policy dropped because nobody pulled them */
  uint64_t deadline_misses; /* of frames_out: that took longer than deadline_ms */
  uint64_t frames_queued;   /* of frames_in: that wait for the model now */
  double last_latency_ms;   /* of the frame finished last, from push or submit */
  double max_latency_ms;    /* of all frames_out */
} penstock_session_stats;

/* As of the last chunk; does not wait for the one that runs. [any thread] */
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

/* [any thread] */
PENSTOCK_API void penstock_phase_stats_init(penstock_phase_stats* stats);
PENSTOCK_API penstock_status penstock_session_get_phase_stats(penstock_session* session, const char* phase,
                                                              penstock_phase_stats* stats);

/* Stops the worker after the phase it is at, and frees the session. Null is allowed. [alone] */
PENSTOCK_API void penstock_session_free(penstock_session* session);

#ifdef __cplusplus
}
#endif

#endif /* PENSTOCK_PENSTOCK_H */
