#include "layers/pool_kernels.h"

namespace nacre {

void max_pool_rows(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, const float* x,
                   float* pooled, uint8_t* winners) {
  max_pool_rows_reference(pool, begin, end, y_begin, x, pooled, winners);
}

void unpool_rows(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end,
                 const float* grad_pooled, const uint8_t* winners, float* grad) {
  unpool_rows_reference(pool, begin, end, y_begin, y_end, grad_pooled, winners, grad);
}

}  // namespace nacre
