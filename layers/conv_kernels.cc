#include "layers/conv_kernels.h"

#include <algorithm>
#include <cstring>

#include "engine/parallel.h"

namespace nacre {
namespace {

// Patches of one stripe should stay in a core's second-level cache beside the packed kernel.
constexpr int64_t kStripeFloats = 64 * 1024;
// Below this, the product's edges and the kernel's way through the caches cost more than the patches.
constexpr int64_t kStripePositions = 144;
// Chunks of images whose partial gradients are kept apart: bounds both threads and memory.
constexpr int64_t kImageChunks = 16;
constexpr int64_t kCombineChunk = 8192;

constexpr int64_t align_floats(int64_t count) {
  return (count + 15) / 16 * 16;
}

}  // namespace

void gather_patches(const ConvGeometry& g, const float* image, int64_t y_begin, int64_t y_end,
                    float* patches) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const auto bytes = [&](int64_t cells) { return static_cast<size_t>(cells * g.channels) * sizeof(float); };
  const int64_t run = x.window * g.channels;
  for (int64_t oy = y_begin; oy < y_end; ++oy) {
    const int64_t first_ky = y.first_cell(oy);
    const int64_t end_ky = y.end_cell(oy);
    for (int64_t ox = 0; ox < x.out; ++ox) {
      const int64_t first = x.first_cell(ox);
      const int64_t end = x.end_cell(ox);
      const float* from = image + (y.start(oy) * x.in + x.start(ox)) * g.channels;
      for (int64_t ky = 0; ky < y.window; ++ky, patches += run, from += x.in * g.channels) {
        if (ky < first_ky || ky >= end_ky) {
          std::memset(patches, 0, bytes(x.window));
          continue;
        }
        if (first > 0) std::memset(patches, 0, bytes(first));
        std::memcpy(patches + first * g.channels, from + first * g.channels, bytes(end - first));
        if (end < x.window) std::memset(patches + end * g.channels, 0, bytes(x.window - end));
      }
    }
  }
}

void scatter_patches(const ConvGeometry& g, const float* patches, int64_t y_begin, int64_t y_end,
                     float* image) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const int64_t run = x.window * g.channels;
  for (int64_t oy = y_begin; oy < y_end; ++oy) {
    for (int64_t ox = 0; ox < x.out; ++ox, patches += y.window * run) {
      const int64_t first = x.first_cell(ox) * g.channels;
      const int64_t count = x.end_cell(ox) * g.channels - first;
      for (int64_t ky = y.first_cell(oy); ky < y.end_cell(oy); ++ky) {
        const float* from = patches + ky * run + first;
        float* to = image + ((y.start(oy) + ky) * x.in + x.start(ox)) * g.channels + first;
        for (int64_t i = 0; i < count; ++i) to[i] += from[i];
      }
    }
  }
}

ConvKernels::ConvKernels(const ConvGeometry& geometry, const WindowAxis& rows, int64_t batch, Mode mode)
    : g_(geometry), rows_(rows) {
  const int64_t width = g_.window.x.out;
  const int64_t unit_positions = rows.stride * width;
  units_per_stripe_ =
      std::max(kStripeFloats / (unit_positions * g_.patch()), kStripePositions / unit_positions);
  units_per_stripe_ = std::clamp<int64_t>(units_per_stripe_, 1, rows.out);
  const int64_t stripe_rows = std::min(g_.window.y.out, (units_per_stripe_ - 1) * rows.stride + rows.window);
  const int64_t positions = stripe_rows * width;

  size_t gemm_bytes = gemm_workspace_bytes(positions, g_.filters, g_.patch());
  size_t packed = packed_b_floats(g_.patch(), g_.filters);
  if (mode == Mode::kTraining) {
    gemm_bytes = std::max({gemm_bytes, gemm_workspace_bytes(g_.patch(), g_.filters, positions),
                           gemm_workspace_bytes(positions, g_.patch(), g_.filters)});
    packed = std::max(packed, packed_b_floats(g_.filters, g_.patch()));
  }
  partials_offset_ = align_up(packed * sizeof(float));
  shared_bytes_ = partials_offset_;
  if (mode == Mode::kTraining) {
    shared_bytes_ += static_cast<size_t>(image_chunks(batch) * partial_floats()) * sizeof(float);
  }
  sums_offset_ = align_up(static_cast<size_t>(positions * g_.patch()) * sizeof(float));
  gemm_offset_ = sums_offset_ + align_up(static_cast<size_t>(positions * g_.filters) * sizeof(float));
  per_thread_bytes_ = gemm_offset_ + gemm_bytes;
}

int64_t ConvKernels::image_chunks(int64_t n) const {
  return std::min(n, kImageChunks);
}

int64_t ConvKernels::partial_floats() const {
  return align_floats(g_.kernel_size()) + align_floats(g_.filters);
}

const float* ConvKernels::patches(const float* image, int64_t y_begin, int64_t y_end, float* scratch) const {
  if (g_.is_pointwise()) return image + y_begin * g_.window.x.in * g_.channels;
  gather_patches(g_, image, y_begin, y_end, scratch);
  return scratch;
}

void ConvKernels::sums(const float* image, int64_t y_begin, int64_t y_end, const float* packed_kernel,
                       const float* bias, std::byte* scratch, float* out) const {
  GemmArgs product;
  product.m = (y_end - y_begin) * g_.window.x.out;
  product.n = g_.filters;
  product.k = g_.patch();
  product.a = patches(image, y_begin, y_end, reinterpret_cast<float*>(scratch));
  product.lda = g_.patch();
  product.c = out;
  product.ldc = g_.filters;
  product.bias = bias;
  product.relu = g_.relu;
  sgemm_packed_b(product, packed_kernel, scratch + gemm_offset_);
}

void ConvKernels::pack_for_backward(const BackwardArgs<float>& args) const {
  if (args.grad_inputs[0].data == nullptr) return;
  pack_b(g_.filters, g_.patch(), args.variables[0].data, g_.filters, true, args.workspace.shared_as<float>());
}

void ConvKernels::add_gradients(const BackwardArgs<float>& args, int64_t n, bool first, int64_t y_begin,
                                int64_t y_end, const float* grad, float* partial, std::byte* scratch) const {
  const int64_t positions = (y_end - y_begin) * g_.window.x.out;
  auto* patch_scratch = reinterpret_cast<float*>(scratch);
  if (args.grad_variables[0].data != nullptr) {
    GemmArgs product;
    product.m = g_.patch();
    product.n = g_.filters;
    product.k = positions;
    product.a = patches(args.inputs[0].data + n * g_.image_size(), y_begin, y_end, patch_scratch);
    product.lda = g_.patch();
    product.transpose_a = true;
    product.b = grad;
    product.ldb = g_.filters;
    product.c = partial;
    product.ldc = g_.filters;
    product.accumulate = !first;
    sgemm(product, scratch + gemm_offset_);
  }
  if (args.grad_variables.size() > 1 && args.grad_variables[1].data != nullptr) {
    float* bias = partial + align_floats(g_.kernel_size());
    if (first) std::fill(bias, bias + g_.filters, 0.0F);
    for (int64_t position = 0; position < positions; ++position) {
      const float* row = grad + position * g_.filters;
      for (int64_t f = 0; f < g_.filters; ++f) bias[f] += row[f];
    }
  }
  if (args.grad_inputs[0].data == nullptr) return;
  float* grad_image = args.grad_inputs[0].data + n * g_.image_size();
  const bool pointwise = g_.is_pointwise();
  GemmArgs product;
  product.m = positions;
  product.n = g_.patch();
  product.k = g_.filters;
  product.a = grad;
  product.lda = g_.filters;
  product.c = pointwise ? grad_image + y_begin * g_.window.x.in * g_.channels : patch_scratch;
  product.ldc = g_.patch();
  if (y_begin == first_row(0)) std::fill(grad_image, grad_image + g_.image_size(), 0.0F);
  sgemm_packed_b(product, args.workspace.shared_as<float>(), scratch + gemm_offset_);
  if (!pointwise) scatter_patches(g_, patch_scratch, y_begin, y_end, grad_image);
}

void ConvKernels::combine(const BackwardArgs<float>& args) const {
  const auto* partials = reinterpret_cast<const float*>(args.workspace.shared + partials_offset_);
  const int64_t chunks = image_chunks(args.output.shape[0]);
  const auto add_up = [&](float* out, int64_t size, const float* from) {
    if (out == nullptr) return;
    parallel_for(chunks_of(size, kCombineChunk), args.context.threads, [&](int64_t chunk, int /*worker*/) {
      const int64_t begin = chunk * kCombineChunk;
      const int64_t end = std::min(size, begin + kCombineChunk);
      std::copy(from + begin, from + end, out + begin);
      for (int64_t k = 1; k < chunks; ++k) {
        const float* partial = from + k * partial_floats();
        for (int64_t i = begin; i < end; ++i) out[i] += partial[i];
      }
    });
  };
  add_up(args.grad_variables[0].data, g_.kernel_size(), partials);
  if (args.grad_variables.size() > 1) {
    add_up(args.grad_variables[1].data, g_.filters, partials + align_floats(g_.kernel_size()));
  }
}

}  // namespace nacre
