// A function for the host and the device alike: the kernels' index arithmetic, which tests run on the host.
#pragma once

#ifdef __CUDACC__
#define PENSTOCK_BOTH __host__ __device__
#else
#define PENSTOCK_BOTH
#endif
