/* The smallest host: raw rgb24 frames of the engine's size from standard input, through the engine, to standard output.
 *
 * cc main.c $(penstock config --cflags --libs) -o c_host
 * ./c_host ENGINE < in.rgb > out.rgb
 *
 * ENGINE: a directory that `penstock build --prompt "..."` wrote.
 */
#include <penstock/penstock.h>
#include <stdio.h>
#include <stdlib.h>

static void check(penstock_status status) {
  if (status == PENSTOCK_OK) return;
  fprintf(stderr, "c_host: %s: %s\n", penstock_status_name(status), penstock_last_error());
  exit(1);
}

/* Writes every finished frame. */
static void drain(penstock_session* session, penstock_frame* frame, size_t bytes) {
  int64_t waiting = 0;
  for (check(penstock_session_poll(session, &waiting)); waiting > 0; --waiting) {
    check(penstock_session_pull(session, frame));
    fwrite(frame->planes[0], 1, bytes, stdout);
  }
}

int main(int argc, char** argv) {
  penstock_engine* engine = NULL;
  penstock_session* session = NULL;
  penstock_video_info info;
  penstock_frame frame;
  if (argc != 2) {
    fprintf(stderr, "usage: c_host ENGINE < in.rgb > out.rgb\n");
    return 2;
  }
  check(penstock_engine_open(argv[1], NULL, &engine));
  check(penstock_session_create(engine, NULL, &session));
  penstock_video_info_init(&info);
  check(penstock_engine_video_info(engine, &info));
  const size_t bytes = (size_t)info.width * (size_t)info.height * 3;

  penstock_frame_init(&frame);
  frame.width = info.width;
  frame.height = info.height;
  frame.planes[0] = malloc(bytes);
  while (frame.planes[0] && fread(frame.planes[0], 1, bytes, stdin) == bytes) {
    check(penstock_session_push(session, &frame));
    drain(session, &frame, bytes);
  }
  check(penstock_session_flush(session));
  drain(session, &frame, bytes);

  free(frame.planes[0]);
  penstock_session_free(session);
  penstock_engine_free(engine);
  return fflush(stdout) != 0;
}
