// Memory: cudaMalloc, pinned memory, copies, and the virtual memory that expandable segments are made of.
#define _GNU_SOURCE
#include "driver.h"
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct state null_gpu = {.total = (int64_t)8 << 30, .capability = 90};

// Addresses are never used twice, so an address tells where it belongs.
#define ARENA ((int64_t)1 << 44)
#define PAGE 4096
struct arena { char *base, *next; };
static struct arena device, pinned;
struct block { char *address; int64_t size; struct block *next; };
static struct block *blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void read_environment(void) {
  char *value;
  if ((value = getenv("NULL_GPU_TOTAL"))) null_gpu.total = atoll(value);
  if ((value = getenv("NULL_GPU_OTHERS"))) null_gpu.others = atoll(value);
  if ((value = getenv("NULL_GPU_CAPABILITY"))) null_gpu.capability = atoll(value);
}

int64_t null_gpu_free(void) {
  int64_t bytes = null_gpu.total - null_gpu.others - null_gpu.device_bytes;
  return bytes > 0 ? bytes : 0;
}

static char *reserve(struct arena *arena, size_t size) {
  if (!arena->base)
    arena->base = arena->next = mmap(0, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  char *address = arena->next;
  arena->next += (size + PAGE - 1) / PAGE * PAGE;
  return address;
}

static void forget(char *address, size_t size) {
  mmap(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static void take(int64_t bytes) {
  null_gpu.device_bytes += bytes;
  if (null_gpu.device_bytes > null_gpu.device_peak) null_gpu.device_peak = null_gpu.device_bytes;
}

static char *allocate(struct arena *arena, size_t size) {
  struct block *block = malloc(sizeof *block);
  *block = (struct block){reserve(arena, size), size, blocks};
  mprotect(block->address, size, PROT_READ | PROT_WRITE);
  blocks = block;
  return block->address;
}

static int64_t release(void *address) {
  for (struct block **at = &blocks; *at; at = &(*at)->next)
    if ((*at)->address == address) {
      struct block *block = *at;
      int64_t size = block->size;
      *at = block->next;
      forget(block->address, size);
      free(block);
      return size;
    }
  return 0;
}

cudaError_t cudaMalloc(void **address, size_t size) {
  pthread_mutex_lock(&lock);
  int fits = (int64_t)size <= null_gpu_free();
  if (fits) { *address = allocate(&device, size); take(size); }
  pthread_mutex_unlock(&lock);
  return fits ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFree(void *address) {
  pthread_mutex_lock(&lock);
  null_gpu.device_bytes -= release(address);
  pthread_mutex_unlock(&lock);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **address, size_t size, unsigned flags) {
  pthread_mutex_lock(&lock);
  *address = allocate(&pinned, size);
  null_gpu.pinned_bytes += size;
  pthread_mutex_unlock(&lock);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void **address, size_t size) { return cudaHostAlloc(address, size, 0); }

cudaError_t cudaFreeHost(void *address) {
  pthread_mutex_lock(&lock);
  null_gpu.pinned_bytes -= release(address);
  pthread_mutex_unlock(&lock);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *free_bytes = null_gpu_free();
  *total = null_gpu.total;
  return cudaSuccess;
}

// Virtual memory. A handle is the size of the memory that it stands for.
int cuMemGetAllocationGranularity(size_t *size, const void *properties, int option) { *size = 2 << 20; return 0; }
int cuMemAddressReserve(uintptr_t *address, size_t size, size_t alignment, uintptr_t wish, unsigned long long flags) {
  pthread_mutex_lock(&lock);
  *address = (uintptr_t)reserve(&device, size);
  pthread_mutex_unlock(&lock);
  return 0;
}
int cuMemAddressFree(uintptr_t address, size_t size) { return 0; }
int cuMemCreate(uint64_t *handle, size_t size, const void *properties, unsigned long long flags) {
  pthread_mutex_lock(&lock);
  int fits = (int64_t)size <= null_gpu_free();
  if (fits) { take(size); *handle = size; }
  pthread_mutex_unlock(&lock);
  return fits ? 0 : 2;  // CUDA_ERROR_OUT_OF_MEMORY
}
int cuMemRelease(uint64_t handle) {
  pthread_mutex_lock(&lock);
  null_gpu.device_bytes -= handle;
  pthread_mutex_unlock(&lock);
  return 0;
}
int cuMemMap(uintptr_t address, size_t size, size_t offset, uint64_t handle, unsigned long long flags) {
  return mprotect((void *)address, size, PROT_READ | PROT_WRITE);
}
int cuMemUnmap(uintptr_t address, size_t size) { forget((char *)address, size); return 0; }
int cuMemSetAccess(uintptr_t address, size_t size, const void *access, size_t count) { return 0; }

// Copies are real: what is moved to the host and back is unchanged.
static int is_in(struct arena *arena, const void *address) {
  return arena->base && (char *)address >= arena->base && (char *)address < arena->base + ARENA;
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *address) {
  memset(attributes, 0, sizeof *attributes);
  attributes->type = is_in(&device, address)   ? cudaMemoryTypeDevice
                     : is_in(&pinned, address) ? cudaMemoryTypeHost
                                               : cudaMemoryTypeUnregistered;
  attributes->devicePointer = (void *)address;
  attributes->hostPointer = is_in(&device, address) ? 0 : (void *)address;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
  memcpy(to, from, size);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy(to, from, size, kind);
}
cudaError_t cudaMemset(void *address, int value, size_t size) { memset(address, value, size); return cudaSuccess; }
cudaError_t cudaMemsetAsync(void *address, int value, size_t size, cudaStream_t stream) {
  return cudaMemset(address, value, size);
}
cudaError_t cudaMemcpyToSymbol(const void *to, const void *from, size_t n, size_t offset, enum cudaMemcpyKind kind) {
  return cudaSuccess;
}
cudaError_t cudaGetSymbolAddress(void **address, const void *symbol) {
  static char constants[1 << 16];
  *address = constants;
  return cudaSuccess;
}
