// Graphs by stream capture.
#pragma once

#include "engine/cuda/context.h"

namespace penstock::cuda {

// What `work` enqueues into the stream, not run yet. Relaxed: kernels are loaded meanwhile.
template <typename Work>
OwnedGraph capture_graph(Stream stream, Work&& work) {
  Graph handle = nullptr;
  PENSTOCK_CUDA(cuStreamBeginCapture_v2, stream, kCaptureRelaxed);
  try {
    work();
  } catch (...) {
    find_driver().cuStreamEndCapture(stream, &handle);  // or the stream stays in capture for ever
    OwnedGraph unfinished(handle);
    throw;
  }
  PENSTOCK_CUDA(cuStreamEndCapture, stream, &handle);
  return OwnedGraph(handle);
}

inline OwnedGraphExec instantiate(const OwnedGraph& graph) {
  GraphExec exec = nullptr;
  PENSTOCK_CUDA(cuGraphInstantiateWithFlags, &exec, graph.get(), 0);
  return OwnedGraphExec(exec);
}

}  // namespace penstock::cuda
