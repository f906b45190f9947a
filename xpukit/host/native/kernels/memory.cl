// Memory bandwidth kernels: write, read, copy, triad. Built from this source on OpenCL (the CPU device); on Level Zero
// the committed memory.spv is used (README.md). Element i of a pattern is i * PATTERN_STEP + seed (mod 2^32), the same
// as xpukit/evaluate/embedded/pattern.py computes on the host, so that every word can be checked.
//
// Layouts: `blocked` gives each work item one contiguous piece (what a CPU's prefetchers want), `strided` lets
// neighbouring work items touch neighbouring vectors (what a GPU coalesces). `_streaming` stores past the caches (and
// interleaves four pages of the piece).

#define PATTERN_STEP 2654435761u

// For the CPU device only: no use on a GPU, and llvm-spirv 14 writes the nested loops in an order that is not valid.
#if defined(__has_builtin) && !defined(WITHOUT_STREAMING)
#if __has_builtin(__builtin_nontemporal_store)
#define HAS_STREAMING 1
#endif
#endif

#define PLAIN_STORE(value, address) (*(address) = (value))
#define STREAMING_STORE(value, address) __builtin_nontemporal_store((value), (address))

#define OWN_SHARE(vectors)                                                                                             \
  const ulong share_ = ((vectors) + get_global_size(0) - 1) / get_global_size(0);                                      \
  const ulong first_ = min((ulong)(vectors), get_global_id(0) * share_);                                               \
  const ulong end_ = min((ulong)(vectors), first_ + share_)

#define BLOCKED(vectors, STATEMENT)                                                                                    \
  OWN_SHARE(vectors);                                                                                                  \
  for (ulong i = first_; i < end_; i++) {                                                                              \
    STATEMENT;                                                                                                         \
  }

// Four pages side by side, as the C library's large memcpy does: with streaming stores a fifth faster than in order.
#define PAGE_VECTORS 64
#define INTERLEAVED(vectors, STATEMENT)                                                                                \
  OWN_SHARE(vectors);                                                                                                  \
  ulong next_ = first_;                                                                                                \
  for (; next_ + 4 * PAGE_VECTORS <= end_; next_ += 4 * PAGE_VECTORS) {                                                \
    for (ulong line = 0; line < PAGE_VECTORS; line++) {                                                                \
      _Pragma("unroll") for (ulong page = 0; page < 4; page++) {                                                       \
        const ulong i = next_ + page * PAGE_VECTORS + line;                                                            \
        STATEMENT;                                                                                                     \
      }                                                                                                                \
    }                                                                                                                  \
  }                                                                                                                    \
  for (ulong i = next_; i < end_; i++) {                                                                               \
    STATEMENT;                                                                                                         \
  }

#define STRIDED(vectors, STATEMENT)                                                                                    \
  for (ulong i = get_global_id(0); i < (vectors); i += get_global_size(0)) {                                           \
    STATEMENT;                                                                                                         \
  }

#define LANES4 ((uint4)(0, 1, 2, 3))
#define LANES16 ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define SUM4(v) ((v).s0 + (v).s1 + (v).s2 + (v).s3)
#define SUM16(v) (SUM4((v).s0123) + SUM4((v).s4567) + SUM4((v).s89ab) + SUM4((v).scdef))

#define STORING_KERNELS(W, LAYOUT, LOOP, SUFFIX, STORE)                                                                \
  kernel void write_##LAYOUT##W##SUFFIX(global uint##W *restrict c, uint seed, ulong vectors) {                        \
    const uint##W lanes = LANES##W * PATTERN_STEP + seed;                                                              \
    LOOP(vectors, STORE(lanes + (uint)(i * W) * PATTERN_STEP, &c[i]))                                                  \
  }                                                                                                                    \
  kernel void copy_##LAYOUT##W##SUFFIX(global const uint##W *restrict a, global uint##W *restrict c, ulong vectors) {  \
    LOOP(vectors, STORE(a[i], &c[i]))                                                                                  \
  }                                                                                                                    \
  kernel void triad_##LAYOUT##W##SUFFIX(global const float##W *restrict a, global const float##W *restrict b,          \
                                        global float##W *restrict c, float scale, ulong vectors) {                     \
    LOOP(vectors, STORE(a[i] + scale * b[i], &c[i]))                                                                   \
  }

// `sums` holds one word per work item: the sum (mod 2^32) of the words that it read.
#define READING_KERNEL(W, LAYOUT, LOOP)                                                                                \
  kernel void read_##LAYOUT##W(global const uint##W *restrict a, global uint *restrict sums, ulong vectors) {          \
    uint##W sum = (uint##W)(0);                                                                                        \
    LOOP(vectors, sum += a[i])                                                                                         \
    sums[get_global_id(0)] = SUM##W(sum);                                                                              \
  }

STORING_KERNELS(16, blocked, BLOCKED, , PLAIN_STORE)
STORING_KERNELS(16, strided, STRIDED, , PLAIN_STORE)
STORING_KERNELS(4, strided, STRIDED, , PLAIN_STORE)
READING_KERNEL(16, blocked, BLOCKED)
READING_KERNEL(16, strided, STRIDED)
READING_KERNEL(4, strided, STRIDED)
#ifdef HAS_STREAMING
STORING_KERNELS(16, blocked, INTERLEAVED, _streaming, STREAMING_STORE)
#endif

// Numbers below 4096, exact in a float: a + 3 * b has one right answer.
kernel void fill_floats(global float *restrict c, uint seed, ulong count) {
  for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
    c[i] = (float)(((uint)i * PATTERN_STEP + seed) >> 20);
  }
}
