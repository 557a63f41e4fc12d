#pragma once

// The mathematics is written once: plain C++ on the host, the same inline functions in kernels.
#if defined(__CUDACC__)
#define ALPHAMARGIN_HOST_DEVICE __host__ __device__
#else
#define ALPHAMARGIN_HOST_DEVICE
#endif
