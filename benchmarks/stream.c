/* Memory bandwidth the way STREAM measures it: each thread works on one contiguous piece of arrays far larger than the
 * caches, and each array is counted once per pass, whatever the caches fetch besides. A peer of engine_memory.py.
 *
 *   stream OPERATION STORES ARRAY_BYTES SAMPLES
 *
 * OPERATION: copy, scale, triad, read, write. STORES: regular, streaming (past the caches). Prints the seconds of each
 * pass, one a line, after two passes of warm-up, and ends with 1 when the result is wrong. Build with -O3 -march=native
 * -fopenmp -fno-tree-loop-distribute-patterns: without the last gcc makes the loops calls of memcpy and memset, whose
 * stores are then whatever the C library chooses.
 */
#include <immintrin.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WARM_UP = 2, ALIGNMENT = 1 << 21, SCALE = 3, PERIOD = 4093 };

/* How many floats one store past the caches takes. */
#if defined(__AVX512F__)
enum { LANES = 16 };
typedef __m512 lanes;
#define LOAD _mm512_load_ps
#define STREAM_OUT _mm512_stream_ps
#define SPREAD _mm512_set1_ps
#define MULTIPLY_ADD(x, y, z) _mm512_add_ps(_mm512_mul_ps(x, y), z)
#define MULTIPLY _mm512_mul_ps
#elif defined(__AVX__)
enum { LANES = 8 };
typedef __m256 lanes;
#define LOAD _mm256_load_ps
#define STREAM_OUT _mm256_stream_ps
#define SPREAD _mm256_set1_ps
#define MULTIPLY_ADD(x, y, z) _mm256_add_ps(_mm256_mul_ps(x, y), z)
#define MULTIPLY _mm256_mul_ps
#else
enum { LANES = 4 };
typedef __m128 lanes;
#define LOAD _mm_load_ps
#define STREAM_OUT _mm_stream_ps
#define SPREAD _mm_set1_ps
#define MULTIPLY_ADD(x, y, z) _mm_add_ps(_mm_mul_ps(x, y), z)
#define MULTIPLY _mm_mul_ps
#endif

static float value_a(size_t i) { return (float)(i % PERIOD); }
static float value_b(size_t i) { return (float)(i % (PERIOD - 2)); }

/* One thread's share of a pass, elements first to end (multiples of 64). Returns what `read` summed. */
static uint32_t pass_regular(char op, const float *restrict a, const float *restrict b, float *restrict c, size_t first,
                             size_t end) {
  uint32_t sum = 0;
  const uint32_t *words = (const uint32_t *)a;
  switch (op) {
  case 'c':
    for (size_t i = first; i < end; i++) c[i] = a[i];
    break;
  case 's':
    for (size_t i = first; i < end; i++) c[i] = SCALE * a[i];
    break;
  case 't':
    for (size_t i = first; i < end; i++) c[i] = a[i] + SCALE * b[i];
    break;
  case 'r':
    for (size_t i = first; i < end; i++) sum += words[i];
    break;
  default:
    for (size_t i = first; i < end; i++) c[i] = SCALE;
  }
  return sum;
}

static uint32_t pass_streaming(char op, const float *restrict a, const float *restrict b, float *restrict c,
                               size_t first, size_t end) {
  const lanes scale = SPREAD(SCALE);
  switch (op) {
  case 'c':
    for (size_t i = first; i < end; i += LANES) STREAM_OUT(c + i, LOAD(a + i));
    break;
  case 's':
    for (size_t i = first; i < end; i += LANES) STREAM_OUT(c + i, MULTIPLY(scale, LOAD(a + i)));
    break;
  case 't':
    for (size_t i = first; i < end; i += LANES) STREAM_OUT(c + i, MULTIPLY_ADD(scale, LOAD(b + i), LOAD(a + i)));
    break;
  default:
    for (size_t i = first; i < end; i += LANES) STREAM_OUT(c + i, scale);
  }
  _mm_sfence();
  return 0;
}

static int is_wrong(char op, const float *a, const float *b, const float *c, size_t i) {
  switch (op) {
  case 'c': return c[i] != a[i];
  case 's': return c[i] != SCALE * a[i];
  case 't': return c[i] != a[i] + SCALE * b[i];
  case 'r': return a[i] != value_a(i);
  default: return c[i] != (float)SCALE;
  }
}

static float *make_array(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, ALIGNMENT, bytes)) return NULL;
#if defined(MADV_HUGEPAGE) && defined(HUGE_PAGES)
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

int main(int argc, char **argv) {
  if (argc != 5 || !strchr("cstrw", argv[1][0]) || !strchr("rs", argv[2][0])) {
    fprintf(stderr, "usage: stream copy|scale|triad|read|write regular|streaming ARRAY_BYTES SAMPLES\n");
    return 2;
  }
  const char op = argv[1][0];
  const int streaming = argv[2][0] == 's' && op != 'r';
  const size_t count = strtoull(argv[3], NULL, 10) / sizeof(float) / 64 * 64;
  const int samples = atoi(argv[4]);
  /* The same arrays as the operation needs, no more: what is not there cannot be in a cache. */
  float *a = op == 'w' ? NULL : make_array(count * sizeof(float));
  float *b = op == 't' ? make_array(count * sizeof(float)) : NULL;
  float *c = op == 'r' ? NULL : make_array(count * sizeof(float));
  if ((op != 'w' && !a) || (op == 't' && !b) || (op != 'r' && !c)) {
    fprintf(stderr, "no memory\n");
    return 1;
  }
  double begun = 0;
  uint32_t total = 0, expected = 0;
  long wrong = 0;
#pragma omp parallel reduction(+ : total, expected, wrong)
  {
    const size_t blocks = count / 64, threads = (size_t)omp_get_num_threads(), self = (size_t)omp_get_thread_num();
    const size_t first = blocks * self / threads * 64, end = blocks * (self + 1) / threads * 64;
    for (size_t i = first; i < end; i++) { /* first touch by the thread that will work on it */
      if (a) a[i] = value_a(i);
      if (b) b[i] = value_b(i);
      if (c) c[i] = -1;
    }
    for (int pass = -WARM_UP; pass < samples; pass++) {
#pragma omp barrier
#pragma omp master
      begun = omp_get_wtime();
#pragma omp barrier
      const uint32_t sum = (streaming ? pass_streaming : pass_regular)(op, a, b, c, first, end);
#pragma omp barrier
#pragma omp master
      if (pass >= 0) printf("%.9f\n", omp_get_wtime() - begun);
      total = sum;
    }
    for (size_t i = first; i < end; i++) wrong += is_wrong(op, a, b, c, i);
    if (op == 'r')
      for (size_t i = first; i < end; i++) expected += ((const uint32_t *)a)[i];
  }
  if (wrong || total != expected) {
    fprintf(stderr, "wrong result: %ld elements\n", wrong);
    return 1;
  }
  return 0;
}
