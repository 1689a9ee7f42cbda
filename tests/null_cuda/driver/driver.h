// A CUDA driver for a GPU that is not there. Memory is memory of the host; kernels compute nothing.
#pragma once
#include <stdint.h>

// What the process under test has taken, and what tests set. Python reads and writes it (tests/null_cuda/gpu.py).
struct state {
  int64_t total;             // bytes of the GPU
  int64_t others;            // bytes that other programs hold
  int64_t device_bytes;      // bytes of the GPU that this process has taken, without CUDA's own part
  int64_t device_peak;       // the most of them at once
  int64_t pinned_bytes;      // bytes of pinned memory of the host
  int64_t library_workspace; // bytes that each operation of cuDNN needs beside torch's memory
  int64_t capability;        // 90: has bfloat16; 75: does not
};
extern struct state null_gpu;

int64_t null_gpu_free(void);
