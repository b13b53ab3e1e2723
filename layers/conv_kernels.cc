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
  const int64_t channels = g.group_channels();
  const auto bytes = [&](int64_t cells) { return static_cast<size_t>(cells * channels) * sizeof(float); };
  const int64_t run = x.window * channels;
  const bool contiguous = x.dilation == 1 && g.groups == 1;
  for (int64_t oy = y_begin; oy < y_end; ++oy) {
    const int64_t first_ky = y.first_cell(oy);
    const int64_t end_ky = y.end_cell(oy);
    for (int64_t ox = 0; ox < x.out; ++ox) {
      const int64_t first = x.first_cell(ox);
      const int64_t end = x.end_cell(ox);
      const float* from = image + (y.start(oy) * x.in + x.start(ox)) * g.channels;
      for (int64_t ky = 0; ky < y.window; ++ky, patches += run, from += y.dilation * x.in * g.channels) {
        if (ky < first_ky || ky >= end_ky) {
          std::memset(patches, 0, bytes(x.window));
          continue;
        }
        if (first > 0) std::memset(patches, 0, bytes(first));
        if (contiguous) {
          std::memcpy(patches + first * channels, from + first * channels, bytes(end - first));
        } else {
          for (int64_t kx = first; kx < end; ++kx) {
            std::memcpy(patches + kx * channels, from + kx * x.dilation * g.channels, bytes(1));
          }
        }
        if (end < x.window) std::memset(patches + end * channels, 0, bytes(x.window - end));
      }
    }
  }
}

void scatter_patches(const ConvGeometry& g, const float* patches, int64_t y_begin, int64_t y_end,
                     float* image) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const int64_t channels = g.group_channels();
  const int64_t run = x.window * channels;
  // Cells that lie side by side are added at once.
  const bool contiguous = x.dilation == 1 && g.groups == 1;
  for (int64_t oy = y_begin; oy < y_end; ++oy) {
    for (int64_t ox = 0; ox < x.out; ++ox, patches += y.window * run) {
      const int64_t first = x.first_cell(ox);
      const int64_t end = x.end_cell(ox);
      const int64_t cells = contiguous ? std::max<int64_t>(1, end - first) : 1;
      const int64_t count = cells * channels;
      for (int64_t ky = y.first_cell(oy); ky < y.end_cell(oy); ++ky) {
        const int64_t row = (y.start(oy) + ky * y.dilation) * x.in;
        for (int64_t kx = first; kx < end; kx += cells) {
          const float* from = patches + ky * run + kx * channels;
          float* to = image + (row + x.start(ox) + kx * x.dilation) * g.channels;
          for (int64_t i = 0; i < count; ++i) to[i] += from[i];
        }
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

  const int64_t filters = g_.group_filters();
  size_t gemm_bytes = gemm_workspace_bytes(positions, filters, g_.patch());
  packed_forward_ = align_floats(static_cast<int64_t>(packed_b_floats(g_.patch(), filters)));
  if (mode == Mode::kTraining) {
    gemm_bytes = std::max({gemm_bytes, gemm_workspace_bytes(g_.patch(), filters, positions),
                           gemm_workspace_bytes(positions, g_.patch(), filters)});
    packed_backward_ = align_floats(static_cast<int64_t>(packed_b_floats(filters, g_.patch())));
  }
  const auto packed = static_cast<size_t>(g_.groups * std::max(packed_forward_, packed_backward_));
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

void ConvKernels::take_patches(const float* image, int64_t y_begin, int64_t y_end, float* scratch,
                               GemmArgs& product) const {
  product.a = image + y_begin * g_.window.x.in * g_.channels;
  product.lda = g_.channels;
  if (g_.is_pointwise()) return;
  gather_patches(g_, image, y_begin, y_end, scratch);
  product.a = scratch;
  product.lda = g_.patch();
}

void ConvKernels::sums(const float* image, int64_t y_begin, int64_t y_end, const float* packed_kernel,
                       const float* bias, std::byte* scratch, float* out) const {
  const int64_t filters = g_.group_filters();
  for (int64_t group = 0; group < g_.groups; ++group) {
    GemmArgs product;
    product.m = (y_end - y_begin) * g_.window.x.out;
    product.n = filters;
    product.k = g_.patch();
    take_patches(image + group * g_.group_channels(), y_begin, y_end, reinterpret_cast<float*>(scratch),
                 product);
    product.c = out + group * filters;
    product.ldc = g_.filters;
    product.bias = bias == nullptr ? nullptr : bias + group * filters;
    product.relu = g_.relu;
    sgemm_packed_b(product, packed_kernel + group * packed_forward_, scratch + gemm_offset_);
  }
}

void ConvKernels::pack_for_backward(const BackwardArgs<float>& args) const {
  if (args.grad_inputs[0].data == nullptr) return;
  for (int64_t group = 0; group < g_.groups; ++group) {
    pack_b(g_.group_filters(), g_.patch(), args.variables[0].data + group * g_.group_filters(), g_.filters,
           true, args.workspace.shared_as<float>() + group * packed_backward_);
  }
}

void ConvKernels::add_gradients(const BackwardArgs<float>& args, int64_t n, bool first, int64_t y_begin,
                                int64_t y_end, const float* grad, float* partial, std::byte* scratch) const {
  const int64_t positions = (y_end - y_begin) * g_.window.x.out;
  if (args.grad_variables[0].data != nullptr) {
    const float* image = args.inputs[0].data + n * g_.image_size();
    for (int64_t group = 0; group < g_.groups; ++group) {
      add_kernel_gradient(image, group, first, y_begin, y_end, grad, partial, scratch);
    }
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
  if (y_begin == first_row(0)) std::fill(grad_image, grad_image + g_.image_size(), 0.0F);
  for (int64_t group = 0; group < g_.groups; ++group) {
    add_input_gradient(args.workspace.shared_as<float>(), group, y_begin, y_end, grad, grad_image, scratch);
  }
}

void ConvKernels::add_kernel_gradient(const float* image, int64_t group, bool first, int64_t y_begin,
                                      int64_t y_end, const float* grad, float* partial,
                                      std::byte* scratch) const {
  GemmArgs product;
  product.m = g_.patch();
  product.n = g_.group_filters();
  product.k = (y_end - y_begin) * g_.window.x.out;
  take_patches(image + group * g_.group_channels(), y_begin, y_end, reinterpret_cast<float*>(scratch),
               product);
  product.transpose_a = true;
  product.b = grad + group * g_.group_filters();
  product.ldb = g_.filters;
  product.c = partial + group * g_.group_filters();
  product.ldc = g_.filters;
  product.accumulate = !first;
  sgemm(product, scratch + gemm_offset_);
}

void ConvKernels::add_input_gradient(const float* packed_kernel, int64_t group, int64_t y_begin,
                                     int64_t y_end, const float* grad, float* grad_image,
                                     std::byte* scratch) const {
  float* grad_group = grad_image + group * g_.group_channels();
  const bool pointwise = g_.is_pointwise();
  auto* patches = reinterpret_cast<float*>(scratch);
  GemmArgs product;
  product.m = (y_end - y_begin) * g_.window.x.out;
  product.n = g_.patch();
  product.k = g_.group_filters();
  product.a = grad + group * g_.group_filters();
  product.lda = g_.filters;
  product.c = pointwise ? grad_group + y_begin * g_.window.x.in * g_.channels : patches;
  product.ldc = pointwise ? g_.channels : g_.patch();
  sgemm_packed_b(product, packed_kernel + group * packed_backward_, scratch + gemm_offset_);
  if (!pointwise) scatter_patches(g_, patches, y_begin, y_end, grad_group);
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
