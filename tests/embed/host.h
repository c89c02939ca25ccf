/* What the test hosts share: statuses as messages, whole files, tensors and frames. */
#ifndef PENSTOCK_TESTS_HOST_H
#define PENSTOCK_TESTS_HOST_H

#include <penstock/penstock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline int failed(penstock_status status, const char* what) {
  if (status == PENSTOCK_OK) return 0;
  fprintf(stderr, "host: %s: %s: %s\n", what, penstock_status_name(status), penstock_last_error());
  return 1;
}

/* The bytes of a file, to be freed; null if it cannot be read. */
static inline void* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  void* data = malloc(*size + 1);
  if (data && fread(data, 1, *size, file) != *size) {
    free(data);
    data = NULL;
  }
  fclose(file);
  return data;
}

/* A float32 tensor [rows, columns], for instance text embeddings. */
static inline penstock_tensor matrix_of(const void* data, int64_t rows, int64_t columns) {
  penstock_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.struct_size = sizeof tensor;
  tensor.dtype = PENSTOCK_F32;
  tensor.ndim = 2;
  tensor.shape[0] = rows;
  tensor.shape[1] = columns;
  tensor.data = data;
  return tensor;
}

/* A picture of the plan's size, without planes yet. */
static inline penstock_frame plan_frame(const penstock_engine* engine) {
  penstock_video_info info;
  penstock_frame frame;
  penstock_video_info_init(&info);
  penstock_frame_init(&frame);
  if (failed(penstock_engine_video_info(engine, &info), "video info")) return frame;
  frame.width = info.width;
  frame.height = info.height;
  return frame;
}

#endif
