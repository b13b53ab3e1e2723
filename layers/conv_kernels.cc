#include "layers/conv_kernels.h"

#include <algorithm>

#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "layers/conv_patches.h"
#include "layers/direct_conv.h"
#include "layers/direct_gradient.h"
#include "layers/padded_rows.h"

namespace nacre {
namespace {

// Patches of one stripe should stay in a core's second-level cache beside the packed kernel.
constexpr int64_t kStripeFloats = 64 * 1024;
// Below this, the product's edges and the kernel's way through the caches cost more than the patches.
constexpr int64_t kStripePositions = 144;
// Sums of one stripe of the direct path, to be pooled while they are in the first-level cache or little
// beyond.
constexpr int64_t kDirectSums = 16 * 1024;
// Channels whose kernel one thread takes to Winograd's points at a time.
constexpr int64_t kKernelChannels = 4;
// Chunks of images whose partial gradients are kept apart: bounds both threads and memory.
constexpr int64_t kImageChunks = 16;
constexpr int64_t kCombineChunk = 8192;

constexpr int64_t align_floats(int64_t count) {
  return (count + 15) / 16 * 16;
}

}  // namespace

ConvKernels::ConvKernels(const ConvGeometry& geometry, const WindowAxis& rows, int64_t batch, Mode mode,
                         const FusedPool* pool)
    : g_(geometry),
      rows_(rows),
      pool_(pool == nullptr ? std::nullopt : std::optional(*pool)),
      path_(choose_forward_path(geometry, rows, mode)),
      winograd_gradient_(mode == Mode::kTraining && choose_winograd_gradient(geometry, rows)),
      direct_kernel_gradient_(choose_direct_kernel_gradient(geometry)),
      winograd_(geometry, winograd_algorithm(geometry, mode)),
      gradient_(geometry, winograd_gradient_algorithm(geometry)) {
  const int64_t width = g_.window.x.out;
  const int64_t unit_positions = rows.stride * width;
  units_per_stripe_ =
      std::max(kStripeFloats / (unit_positions * g_.patch()), kStripePositions / unit_positions);
  units_per_stripe_ = std::clamp<int64_t>(units_per_stripe_, 1, rows.out);
  plan_forward(batch);
  plan_backward(batch);
  const bool winograd = path_ == ForwardPath::kWinograd;
  const bool training = mode == Mode::kTraining;
  const bool copies_patches = path_ == ForwardPath::kGemm || training;
  const int64_t positions = rows_of(training ? backward_.units : units_per_stripe_) * width;

  const int64_t filters = g_.group_filters();
  size_t gemm_bytes = gemm_workspace_bytes(positions, filters, g_.patch());
  packed_forward_ = align_floats(static_cast<int64_t>(packed_b_floats(g_.patch(), filters)));
  if (mode == Mode::kTraining) {
    gemm_bytes = std::max({gemm_bytes, gemm_workspace_bytes(g_.patch(), filters, positions),
                           gemm_workspace_bytes(positions, g_.patch(), filters)});
    packed_backward_ = align_floats(static_cast<int64_t>(packed_b_floats(filters, g_.patch())));
  }
  int64_t packed = g_.groups * std::max(packed_forward_, packed_backward_);
  packed_floats_ = winograd ? winograd_.forward_floats() : g_.groups * packed_forward_;
  packed = std::max(packed, packed_floats_);
  if (winograd_gradient_) {
    backward_points_ = align_floats(gradient_.backward_floats());
    packed = std::max(packed, backward_points_ + gradient_.kernel_points_floats());
  }
  partials_offset_ = align_up(static_cast<size_t>(packed) * sizeof(float));
  shared_bytes_ = partials_offset_;
  if (mode == Mode::kTraining) {
    shared_bytes_ += static_cast<size_t>(image_chunks(batch) * partial_floats()) * sizeof(float);
  }
  const int64_t piece_rows = rows_of(largest_.units);
  size_t input_bytes = copies_patches ? static_cast<size_t>(positions * g_.patch()) * sizeof(float) : 0;
  if (path_ == ForwardPath::kDirect) {
    input_bytes =
        std::max(input_bytes, static_cast<size_t>(padded_rows_floats(g_, piece_rows)) * sizeof(float));
  } else if (winograd) {
    input_bytes = std::max(input_bytes, winograd_.forward_scratch_bytes(largest_.images, piece_rows));
  }
  if (training && direct_kernel_gradient_) {
    const int64_t floats = padded_rows_floats(g_, rows_of(backward_.units));
    input_bytes = std::max(input_bytes, static_cast<size_t>(floats) * sizeof(float));
  }
  if (winograd_gradient_) {
    input_bytes =
        std::max(input_bytes, gradient_.backward_scratch_bytes(backward_.images, rows_of(backward_.units)));
  }
  const int64_t sums =
      std::max(copies_patches ? backward_.images * positions : 0, largest_.images * piece_rows * width);
  sums_offset_ = align_up(input_bytes);
  gemm_offset_ = sums_offset_ + align_up(static_cast<size_t>(sums * g_.filters) * sizeof(float));
  per_thread_bytes_ = gemm_offset_ + gemm_bytes;
}

void ConvKernels::plan_forward(int64_t batch) {
  largest_ = {1, units_per_stripe_};
  const int64_t unit_positions = rows_.stride * g_.window.x.out;
  if (path_ == ForwardPath::kDirect) {
    // The rows that two stripes share are copied twice: they should be few beside those of a stripe.
    const int64_t halo = 4 * (g_.window.y.window - 1) * g_.window.y.dilation;
    largest_.units = std::max({kDirectSums / (unit_positions * g_.filters),
                               halo / (rows_.stride * g_.window.y.stride), int64_t{1}});
  } else if (path_ == ForwardPath::kWinograd) {
    largest_ = winograd_piece(winograd_, batch);
  }
  largest_.units = std::min(largest_.units, rows_.out);
}

ConvKernels::Piece ConvKernels::winograd_piece(const WinogradConv& winograd, int64_t batch) const {
  Piece piece;
  const int64_t whole = units_of_tiles(rows_, winograd.algorithm());
  const int64_t tiles = winograd.tiles_in(whole * rows_.stride);
  piece.units = std::max<int64_t>(1, winograd.good_tiles() / tiles) * whole;
  if (piece.units >= rows_.out) {
    const int64_t image = winograd.tiles_in(rows_of(rows_.out));
    piece.images = std::clamp<int64_t>(winograd.good_tiles() / image, 1, batch);
  }
  piece.units = std::min(piece.units, rows_.out);
  return piece;
}

int64_t ConvKernels::rows_of(int64_t units) const {
  return std::min(g_.window.y.out, (units - 1) * rows_.stride + rows_.window);
}

void ConvKernels::plan_backward(int64_t batch) {
  backward_ = {1, units_per_stripe_};
  if (!winograd_gradient_) return;
  backward_ = winograd_piece(gradient_, batch);
  // As many as share a chunk: the batch alone says how many.
  backward_.images = std::min(backward_.images, std::max<int64_t>(1, batch / kImageChunks));
}

ConvKernels::Piece ConvKernels::forward_piece(int64_t n, int threads) const {
  constexpr int64_t kPiecesPerThread = 2;
  Piece piece = largest_;
  if (threads == 1 || path_ == ForwardPath::kGemm) return piece;
  const int64_t wanted = kPiecesPerThread * threads;
  piece.images = std::clamp<int64_t>(n / wanted, 1, piece.images);
  const int64_t per_image = chunks_of(wanted, chunks_of(std::max<int64_t>(n, 1), piece.images));
  int64_t units = chunks_of(rows_.out, per_image);
  if (path_ == ForwardPath::kWinograd) {
    const int64_t whole = units_of_tiles(rows_, winograd_.algorithm());
    units = chunks_of(units, whole) * whole;
  }
  piece.units = std::min(piece.units, units);
  return piece;
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

void ConvKernels::pack(const float* kernel, int threads, float* packed) const {
  if (path_ == ForwardPath::kWinograd) {
    parallel_for(chunks_of(g_.channels, kKernelChannels), threads, [&](int64_t chunk, int) {
      const int64_t begin = chunk * kKernelChannels;
      winograd_.pack_forward(kernel, begin, std::min(g_.channels, begin + kKernelChannels), packed);
    });
    return;
  }
  for (int64_t group = 0; group < g_.groups; ++group) {
    pack_b(g_.patch(), g_.group_filters(), kernel + group * g_.group_filters(), g_.filters, false,
           packed + group * packed_forward_);
  }
}

bool ConvKernels::pools_sums() const {
  return pool_.has_value() && pool_->of_pairs() && path_ != ForwardPath::kGemm;
}

void ConvKernels::forward_pooled(const ForwardArgs<float>& args, uint8_t* winners) const {
  const float* packed = packed_of(args);
  const float* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
  const int64_t width = pool_->window.x.out;
  const PooledCells cells{args.output.data, winners, width * g_.filters, g_.filters};
  for_each_piece(args, [&](int64_t n, int64_t images, int64_t begin, int64_t end, std::byte* scratch) {
    const float* image = args.inputs[0].data + n * g_.image_size();
    if (path_ == ForwardPath::kWinograd) {
      return winograd_.pooled_sums({images, 2 * begin, 2 * end}, image, packed, bias, scratch,
                                   cells.at(n * pooled_size() + begin * cells.row), pooled_size(), width);
    }
    for (int64_t i = n; i < n + images; ++i, image += g_.image_size()) {
      const PaddedRows rows = padded_rows(g_, image, 2 * begin, 2 * end, reinterpret_cast<float*>(scratch));
      direct_conv_pooled_rows(g_, rows, end - begin, width, packed, bias,
                              cells.at(i * pooled_size() + begin * cells.row));
    }
  });
}

bool ConvKernels::takes_pooled_gradient() const {
  return pool_.has_value() && pool_->of_pairs() && winograd_gradient_;
}

void ConvKernels::backward_pooled(const BackwardArgs<float>& args, const uint8_t* winners) const {
  if (args.grad_inputs[0].data == nullptr) return;
  pack_for_backward(args);
  const int64_t batch = args.output.shape[0];
  const int64_t chunks = image_chunks(batch);
  parallel_for(chunks, args.context.threads, [&](int64_t chunk, int worker) {
    const int64_t end_image = (chunk + 1) * batch / chunks;
    for (int64_t n = chunk * batch / chunks; n < end_image; n += backward_.images) {
      const int64_t images = std::min(backward_.images, end_image - n);
      float* grad_image = args.grad_inputs[0].data + n * g_.image_size();
      std::fill(grad_image, grad_image + images * g_.image_size(), 0.0F);
      for (int64_t begin = 0; begin < rows_.out; begin += backward_.units) {
        const int64_t end = std::min(rows_.out, begin + backward_.units);
        gradient_.add_pooled_input_gradient(
            {images, 2 * begin, 2 * end}, args.grad_output.data + n * pooled_size(),
            winners + n * pooled_size(), pool_->window, args.workspace.shared_as<float>(),
            args.workspace.of_thread<std::byte>(worker), grad_image);
      }
    }
  });
}

void ConvKernels::sums(const float* image, int64_t images, int64_t y_begin, int64_t y_end,
                       const ForwardArgs<float>& args, std::byte* scratch, float* out, int64_t step) const {
  const float* packed = packed_of(args);
  const float* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
  if (path_ == ForwardPath::kWinograd) {
    return winograd_.sums({images, y_begin, y_end}, image, packed, bias, scratch, out, step);
  }
  for (int64_t n = 0; n < images; ++n, image += g_.image_size(), out += step) {
    if (path_ == ForwardPath::kGemm) {
      sums_by_gemm(image, y_begin, y_end, args, scratch, out);
    } else {
      const PaddedRows rows = padded_rows(g_, image, y_begin, y_end, reinterpret_cast<float*>(scratch));
      direct_conv_rows(g_, rows, y_end - y_begin, packed, bias, out);
    }
  }
}

void ConvKernels::sums_by_gemm(const float* image, int64_t y_begin, int64_t y_end,
                               const ForwardArgs<float>& args, std::byte* scratch, float* out) const {
  const int64_t filters = g_.group_filters();
  const float* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
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
    sgemm_packed_b(product, packed_of(args) + group * packed_forward_, scratch + gemm_offset_);
  }
}

void ConvKernels::pack_for_backward(const BackwardArgs<float>& args) const {
  if (args.grad_inputs[0].data == nullptr) return;
  auto* packed = args.workspace.shared_as<float>();
  const float* kernel = args.variables[0].data;
  if (winograd_gradient_) {
    float* points = packed + backward_points_;
    parallel_for(chunks_of(g_.channels, kKernelChannels), args.context.threads, [&](int64_t chunk, int) {
      const int64_t begin = chunk * kKernelChannels;
      gradient_.transform_kernel(kernel, begin, std::min(g_.channels, begin + kKernelChannels), points);
    });
    parallel_for(gradient_.points(), args.context.threads,
                 [&](int64_t point, int) { gradient_.pack_backward(points, point, packed); });
    return;
  }
  for (int64_t group = 0; group < g_.groups; ++group) {
    pack_b(g_.group_filters(), g_.patch(), kernel + group * g_.group_filters(), g_.filters, true,
           packed + group * packed_backward_);
  }
}

void ConvKernels::add_variable_gradients(const BackwardArgs<float>& args, int64_t n, bool first,
                                         int64_t y_begin, int64_t y_end, const float* grad, float* partial,
                                         std::byte* scratch) const {
  if (args.grad_variables[0].data != nullptr) {
    const float* image = args.inputs[0].data + n * g_.image_size();
    for (int64_t group = 0; group < g_.groups; ++group) {
      add_kernel_gradient(image, group, first, y_begin, y_end, grad, partial, scratch);
    }
  }
  if (args.grad_variables.size() > 1 && args.grad_variables[1].data != nullptr) {
    float* bias = partial + align_floats(g_.kernel_size());
    if (first) std::fill(bias, bias + g_.filters, 0.0F);
    add_rows((y_end - y_begin) * g_.window.x.out, g_.filters, grad, bias);
  }
}

void ConvKernels::add_input_gradients(const BackwardArgs<float>& args, int64_t n, int64_t images,
                                      int64_t y_begin, int64_t y_end, const float* grad, int64_t step,
                                      std::byte* scratch) const {
  if (args.grad_inputs[0].data == nullptr) return;
  const auto* packed = args.workspace.shared_as<float>();
  float* grad_image = args.grad_inputs[0].data + n * g_.image_size();
  if (y_begin == first_row(0)) std::fill(grad_image, grad_image + images * g_.image_size(), 0.0F);
  if (winograd_gradient_) {
    return gradient_.add_input_gradient({images, y_begin, y_end}, grad, step, packed, scratch, grad_image);
  }
  for (int64_t i = 0; i < images; ++i, grad += step, grad_image += g_.image_size()) {
    for (int64_t group = 0; group < g_.groups; ++group) {
      add_input_gradient(packed, group, y_begin, y_end, grad, grad_image, scratch);
    }
  }
}

void ConvKernels::add_kernel_gradient(const float* image, int64_t group, bool first, int64_t y_begin,
                                      int64_t y_end, const float* grad, float* partial,
                                      std::byte* scratch) const {
  if (direct_kernel_gradient_) {
    const PaddedRows rows = padded_rows(g_, image, y_begin, y_end, reinterpret_cast<float*>(scratch));
    return direct_kernel_gradient(g_, rows, y_end - y_begin, grad, first, partial);
  }
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
