// Backward of ConvKernels.
#include <algorithm>

#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "layers/conv_kernels.h"
#include "layers/conv_patches.h"
#include "layers/outer_products.h"
#include "layers/padded_rows.h"
#include "layers/sparse_kernels.h"

namespace nacre {
namespace {

constexpr int64_t kCombineChunk = 8192;
// Vectors of a kernel that one thread takes to Winograd's points at a time.
constexpr int64_t kPartsTogether = 32;
// Terms that one register sums: few enough to round little, and to stay in the first-level cache.
constexpr int64_t kMostTerms = 256;
// From so many on, a few channels of all positions lie in few sets of the cache: a product packs them.
constexpr int64_t kPackedChannels = 256;

}  // namespace

bool ConvKernels::takes_pooled_gradient() const {
  return pool_.has_value() && pool_->of_pairs() && winograd_gradient_;
}

WinogradConv::Gradients ConvKernels::winograd_gradients(const BackwardArgs<float>& args,
                                                        const BackwardPiece& piece) const {
  WinogradConv::Gradients to;
  if (args.grad_inputs[0].data != nullptr) {
    to.input = args.grad_inputs[0].data + piece.n * g_.image_size();
    to.overwrite_input =
        !args.adds_to(0) && gradient_.covers_image(first_row(piece.begin), end_row(piece.end - 1));
    to.packed = args.workspace.shared_as<float>();
  }
  if (wants_kernel(args)) {
    to.kernel = reinterpret_cast<float*>(piece.scratch + kernel_sums_offset_);
    to.image = args.inputs[0].data + piece.n * g_.image_size();
    to.overwrite_kernel = piece.first;
  }
  return to;
}

void ConvKernels::zero_input_gradient(const BackwardArgs<float>& args, const BackwardPiece& piece) const {
  if (args.grad_inputs[0].data == nullptr || args.adds_to(0) || piece.begin > 0) return;
  // What overwrites the whole gradient: a product, phases, tiles over all of an image.
  if ((g_.is_product() && !pool_.has_value()) || phases_.has_value()) return;
  if (winograd_gradient_ && gradient_.covers_image(first_row(piece.begin), end_row(piece.end - 1))) return;
  float* grad = args.grad_inputs[0].data + piece.n * g_.image_size();
  std::fill(grad, grad + piece.images * g_.image_size(), 0.0F);
}

void ConvKernels::backward_pooled(const BackwardArgs<float>& args, const uint8_t* winners) const {
  for_each_backward_piece(args, [&](const BackwardPiece& piece) {
    const float* grad = args.grad_output.data + piece.n * pooled_size();
    const uint8_t* won = winners + piece.n * pooled_size();
    zero_input_gradient(args, piece);
    if (wants_bias(args)) {
      float* bias = piece.partial + bias_offset();
      if (piece.first) std::fill(bias, bias + g_.filters, 0.0F);
      const int64_t line = pool_->window.x.out * g_.filters;
      for (int64_t i = 0; i < piece.images; ++i) {
        const int64_t at = i * pooled_size() + piece.begin * line;
        sparse::add_live_gradients(won + at, grad + at, (piece.end - piece.begin) * pool_->window.x.out,
                                   g_.filters, bias);
      }
    }
    gradient_.add_pooled_gradients({piece.images, 2 * piece.begin, 2 * piece.end}, grad, won, pool_->window,
                                   piece.scratch, winograd_gradients(args, piece));
  });
}

void ConvKernels::pack_for_backward(const BackwardArgs<float>& args) const {
  if (args.grad_inputs[0].data == nullptr) return;
  auto* packed = args.workspace.shared_as<float>();
  const float* kernel = args.variables[0].data;
  if (winograd_gradient_) {
    float* cells = packed + cells_offset_;
    parallel_for(g_.window.y.window * g_.window.x.window, args.context.threads,
                 [&](int64_t cell, int) { gradient_.pack_cell(kernel, cell, cells); });
    const int64_t parts = gradient_.cell_parts();
    parallel_for(chunks_of(parts, kPartsTogether), args.context.threads, [&](int64_t chunk, int) {
      const int64_t begin = chunk * kPartsTogether;
      gradient_.pack_backward(cells, begin, std::min(parts, begin + kPartsTogether), packed);
    });
    return;
  }
  if (phases_.has_value()) return phases_->pack(kernel, packed);
  for (int64_t group = 0; group < g_.groups; ++group) {
    pack_b(g_.group_filters(), g_.patch(), kernel + group * g_.group_filters(), g_.filters, true,
           packed + group * packed_backward_);
  }
}

void ConvKernels::add_gradients(const BackwardArgs<float>& args, const BackwardPiece& piece,
                                const float* grad, int64_t step) const {
  const int64_t y_begin = first_row(piece.begin);
  const int64_t y_end = end_row(piece.end - 1);
  zero_input_gradient(args, piece);
  if (wants_bias(args)) {
    for (int64_t i = 0; i < piece.images; ++i) {
      add_bias_gradient((y_end - y_begin) * g_.window.x.out, grad + i * step, piece.first && i == 0,
                        piece.partial + bias_offset());
    }
  }
  if (winograd_gradient_) {
    return gradient_.add_gradients({piece.images, y_begin, y_end}, grad, step, piece.scratch,
                                   winograd_gradients(args, piece));
  }
  if (g_.is_product()) return add_product_gradients(args, piece, grad);
  for (int64_t i = 0; i < piece.images; ++i, grad += step) {
    const int64_t image = (piece.n + i) * g_.image_size();
    if (wants_kernel(args)) {
      BackwardPiece stripe = piece;
      for (; stripe.begin < piece.end; stripe.begin = stripe.end) {
        stripe.end = std::min(piece.end, stripe.begin + units_per_stripe_);
        add_kernel_gradient(stripe, args.inputs[0].data + image,
                            grad + (first_row(stripe.begin) - y_begin) * g_.window.x.out * g_.filters,
                            piece.first && i == 0 && stripe.begin == piece.begin);
      }
    }
    if (args.grad_inputs[0].data == nullptr) continue;
    if (phases_.has_value()) {
      phases_->compute(grad, args.workspace.shared_as<float>(), piece.scratch, args.adds_to(0),
                       args.grad_inputs[0].data + image);
      continue;
    }
    for (int64_t group = 0; group < g_.groups; ++group) {
      add_input_gradient(args.workspace.shared_as<float>(), group, y_begin, y_end, grad,
                         args.grad_inputs[0].data + image, piece.scratch);
    }
  }
}

void ConvKernels::add_product_gradients(const BackwardArgs<float>& args, const BackwardPiece& piece,
                                        const float* grad) const {
  const int64_t y_begin = first_row(piece.begin);
  // Of several images a piece has all rows.
  const int64_t positions = piece.images * (end_row(piece.end - 1) - y_begin) * g_.window.x.out;
  const int64_t first = piece.n * g_.image_size() + y_begin * g_.window.x.in * g_.channels;
  const float* image = args.inputs[0].data + first;
  if (wants_kernel(args) && g_.channels >= kPackedChannels) {
    GemmArgs product;
    product.m = g_.channels;
    product.n = g_.filters;
    product.k = positions;
    product.a = image;
    product.lda = g_.channels;
    product.transpose_a = true;
    product.b = grad;
    product.ldb = g_.filters;
    product.c = piece.partial;
    product.ldc = g_.filters;
    product.accumulate = !piece.first;
    sgemm(product, piece.scratch + gemm_offset_);
  } else if (wants_kernel(args)) {
    OuterProducts products;
    products.m = g_.channels;
    products.n = g_.filters;
    products.a_column = g_.channels;
    products.b_column = g_.filters;
    products.c = piece.partial;
    products.c_row = g_.filters;
    for (int64_t begin = 0; begin < positions; begin += kMostTerms) {
      products.columns = std::min(kMostTerms, positions - begin);
      products.a = image + begin * g_.channels;
      products.b = grad + begin * g_.filters;
      products.accumulate = !piece.first || begin > 0;
      add_outer_products(products);
    }
  }
  if (args.grad_inputs[0].data == nullptr) return;
  GemmArgs product;
  product.m = positions;
  product.n = g_.channels;
  product.k = g_.filters;
  product.a = grad;
  product.lda = g_.filters;
  product.c = args.grad_inputs[0].data + first;
  product.ldc = g_.channels;
  product.accumulate = args.adds_to(0);
  sgemm_packed_b(product, args.workspace.shared_as<float>(), piece.scratch + gemm_offset_);
}

void ConvKernels::add_bias_gradient(int64_t positions, const float* grad, bool first, float* bias) const {
  const float one = 1.0F;
  OuterProducts sums;
  sums.m = 1;
  sums.n = g_.filters;
  sums.a = &one;
  sums.b_column = g_.filters;
  sums.c = bias;
  sums.c_row = g_.filters;
  for (int64_t begin = 0; begin < positions; begin += kMostTerms) {
    sums.columns = std::min(kMostTerms, positions - begin);
    sums.b = grad + begin * g_.filters;
    sums.accumulate = !first || begin > 0;
    add_outer_products(sums);
  }
}

void ConvKernels::add_kernel_gradient(const BackwardPiece& piece, const float* image, const float* grad,
                                      bool first) const {
  const int64_t y_begin = first_row(piece.begin);
  const int64_t y_end = end_row(piece.end - 1);
  if (kernel_gradient_ != KernelGradientPath::kDirect) {
    for (int64_t group = 0; group < g_.groups; ++group) {
      add_kernel_gradient_by_gemm(image, group, first, y_begin, y_end, grad, piece.partial, piece.scratch);
    }
    return;
  }
  const WindowAxis& y = g_.window.y;
  const WindowAxis& x = g_.window.x;
  const PaddedRows padded = padded_rows(g_, image, y_begin, y_end, reinterpret_cast<float*>(piece.scratch));
  // One row of the window is a run of floats.
  OuterProducts products;
  products.m = x.window * g_.channels;
  products.n = g_.filters;
  products.a_row = y.stride * padded.row_stride;
  products.a_column = x.stride * g_.channels;
  products.b_row = x.out * g_.filters;
  products.b_column = g_.filters;
  products.c_row = g_.filters;
  // A block of output rows, or of a long one.
  const int64_t columns = std::min(kMostTerms, x.out);
  const int64_t rows = std::max<int64_t>(1, kMostTerms / x.out);
  for (int64_t oy = 0; oy < y_end - y_begin; oy += rows) {
    products.rows = std::min(rows, y_end - y_begin - oy);
    for (int64_t ox = 0; ox < x.out; ox += columns) {
      products.columns = std::min(columns, x.out - ox);
      products.b = grad + oy * products.b_row + ox * products.b_column;
      products.accumulate = !first || oy > 0 || ox > 0;
      for (int64_t ky = 0; ky < y.window; ++ky) {
        products.a =
            padded.data + oy * products.a_row + ky * y.dilation * padded.row_stride + ox * products.a_column;
        products.c = piece.partial + ky * products.m * g_.filters;
        add_outer_products(products);
      }
    }
  }
}

void ConvKernels::add_kernel_gradient_by_gemm(const float* image, int64_t group, bool first, int64_t y_begin,
                                              int64_t y_end, const float* grad, float* partial,
                                              std::byte* scratch) const {
  GemmArgs product;
  product.m = g_.patch();
  product.n = g_.group_filters();
  product.k = (y_end - y_begin) * g_.window.x.out;
  const Patches patches =
      take_patches(image + group * g_.group_channels(), y_begin, y_end, reinterpret_cast<float*>(scratch));
  product.a = patches.data;
  product.lda = patches.ld;
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
  product.accumulate = pointwise;
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
      if (chunks == 1) std::copy(from + begin, from + end, out + begin);
      for (int64_t k = 1; k < chunks; ++k) {
        const float* partial = from + k * partial_floats();
        add(end - begin, (k == 1 ? from : out) + begin, partial + begin, out + begin);
      }
    });
  };
  add_up(args.grad_variables[0].data, g_.kernel_size(), partials);
  if (args.grad_variables.size() > 1) {
    add_up(args.grad_variables[1].data, g_.filters, partials + bias_offset());
  }
}

}  // namespace nacre
