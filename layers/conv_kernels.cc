#include "layers/conv_kernels.h"

#include <algorithm>

#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/conv_patches.h"
#include "layers/direct_conv.h"
#include "layers/padded_rows.h"
#include "layers/past_caches.h"

namespace nacre {
namespace {

// Patches of one stripe should stay in a core's second-level cache beside the packed kernel.
constexpr int64_t kStripeFloats = 64 * 1024;
// Below this, the product's edges and the kernel's way through the caches cost more than the patches.
constexpr int64_t kStripePositions = 144;
// Sums of one stripe of the direct path, to be pooled while they are in the first-level cache or little
// beyond.
constexpr int64_t kDirectSums = 16 * 1024;
// Kernel gradients at Winograd's points are taken back, and added up, for each chunk: little beside the
// products of so many tiles. Otherwise fewer chunks are cut.
constexpr int64_t kTilesPerChunk = 96;
constexpr int64_t kFewChunks = 8;
// The same of positions elsewhere: a partial gradient is written and read again. But some chunks are wanted
// for threads.
constexpr int64_t kPositionsPerChunk = 256;
constexpr int64_t kLeastChunks = 4;

}  // namespace

ConvKernels::ConvKernels(const ConvGeometry& geometry, const WindowAxis& rows, int64_t batch, Mode mode,
                         const FusedPool* pool)
    : g_(geometry),
      rows_(rows),
      pool_(pool == nullptr ? std::nullopt : std::optional(*pool)),
      path_(choose_forward_path(geometry, rows, mode)),
      winograd_gradient_(mode == Mode::kTraining && choose_winograd_gradient(geometry, rows)),
      kernel_gradient_(choose_kernel_gradient(geometry, rows, pool)),
      phases_(mode == Mode::kTraining && choose_phase_gradient(geometry, pool)
                  ? std::optional(PhaseGradient(geometry))
                  : std::nullopt),
      winograd_(geometry, winograd_algorithm(geometry, rows, mode)),
      gradient_(geometry, winograd_gradient_algorithm(geometry, rows)) {
  const int64_t unit_positions = rows.stride * g_.window.x.out;
  units_per_stripe_ =
      std::max(kStripeFloats / (unit_positions * g_.patch()), kStripePositions / unit_positions);
  units_per_stripe_ = std::clamp<int64_t>(units_per_stripe_, 1, rows.out);
  plan_forward(batch);
  plan_backward(batch);
  plan_workspaces(batch, mode);
}

void ConvKernels::plan_workspaces(int64_t batch, Mode mode) {
  const bool winograd = path_ == ForwardPath::kWinograd;
  const bool training = mode == Mode::kTraining;
  const bool multiplies_patches =
      path_ == ForwardPath::kGemm || (training && !winograd_gradient_ && !phases_.has_value());
  const int64_t positions = rows_of(units_per_stripe_) * g_.window.x.out;
  const int64_t filters = g_.group_filters();

  size_t gemm_bytes = multiplies_patches ? gemm_workspace_bytes(positions, filters, g_.patch()) : 0;
  if (g_.is_product()) {
    gemm_bytes =
        std::max(gemm_bytes, gemm_thread_workspace_bytes(batch * g_.positions(), filters, g_.patch()));
  }
  packed_forward_ = align_floats(static_cast<int64_t>(packed_b_floats(g_.patch(), filters)));
  if (training && multiplies_patches) {
    const int64_t together = positions * backward_.images;
    gemm_bytes = std::max({gemm_bytes, gemm_workspace_bytes(g_.patch(), filters, together),
                           gemm_workspace_bytes(together, g_.patch(), filters)});
    packed_backward_ = align_floats(static_cast<int64_t>(packed_b_floats(filters, g_.patch())));
  }
  packed_floats_ = winograd ? winograd_.forward_floats() : g_.groups * packed_forward_;
  int64_t packed = std::max(packed_floats_, g_.groups * packed_backward_);
  if (winograd_gradient_) {
    cells_offset_ = align_floats(gradient_.backward_floats());
    packed = std::max(packed, cells_offset_ + gradient_.cells_floats());
  }
  if (phases_.has_value()) packed = std::max(packed, phases_->packed_floats());
  partials_offset_ = float_bytes(packed);
  shared_bytes_ = partials_offset_;
  if (training) shared_bytes_ += float_bytes(image_chunks(batch) * partial_floats());

  const int64_t piece_rows = rows_of(largest_.units);
  const int64_t backward_rows = rows_of(backward_.units);
  size_t input_bytes = multiplies_patches ? float_bytes(positions * g_.patch()) : 0;
  if (path_ == ForwardPath::kDirect) {
    input_bytes = std::max(input_bytes, float_bytes(padded_rows_floats(g_, piece_rows)));
  } else if (winograd) {
    input_bytes = std::max(input_bytes, winograd_.forward_scratch_bytes(largest_.images, piece_rows));
  }
  int64_t sums = largest_.images * piece_rows;
  if (training) {
    sums = std::max(sums, backward_.images * backward_rows);
    const int64_t stripe_rows = std::min(backward_rows, rows_of(units_per_stripe_));
    input_bytes = std::max(
        input_bytes, winograd_gradient_ ? gradient_.backward_scratch_bytes(backward_.images, backward_rows)
                                        : float_bytes(padded_rows_floats(g_, stripe_rows)));
    if (phases_.has_value()) input_bytes = std::max(input_bytes, phases_->scratch_bytes());
  }
  sums_offset_ = align_up(input_bytes);
  gemm_offset_ = sums_offset_ + float_bytes(sums * g_.window.x.out * g_.filters);
  kernel_sums_offset_ = gemm_offset_ + gemm_bytes;
  per_thread_bytes_ = kernel_sums_offset_;
  if (training && kernel_gradient_ == KernelGradientPath::kWinograd) {
    per_thread_bytes_ += float_bytes(gradient_.kernel_sums_floats());
  }
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
    largest_ = winograd_piece(winograd_, winograd_.good_tiles(), batch);
  }
  largest_.units = std::min(largest_.units, rows_.out);
}

ConvKernels::Piece ConvKernels::winograd_piece(const WinogradConv& winograd, int64_t good_tiles,
                                               int64_t batch) const {
  Piece piece;
  const int64_t whole = units_of_tiles(rows_, winograd.algorithm());
  const int64_t tiles = winograd.tiles_in(whole * rows_.stride);
  piece.units = std::max<int64_t>(1, good_tiles / tiles) * whole;
  if (piece.units >= rows_.out) {
    const int64_t image = winograd.tiles_in(rows_of(rows_.out));
    piece.images = std::clamp<int64_t>(good_tiles / image, 1, batch);
  }
  piece.units = std::min(piece.units, rows_.out);
  return piece;
}

int64_t ConvKernels::rows_of(int64_t units) const {
  return std::min(g_.window.y.out, (units - 1) * rows_.stride + rows_.window);
}

void ConvKernels::plan_backward(int64_t batch) {
  // A phase reads the gradients of the rows around.
  backward_ = {1, phases_.has_value() ? rows_.out : units_per_stripe_};
  // Of one chunk of images.
  const int64_t images = chunks_of(batch, std::max<int64_t>(1, image_chunks(batch)));
  if (g_.is_product() && !pool_.has_value() && backward_.units == rows_.out) {
    backward_.images = std::clamp<int64_t>(kPositionsPerChunk / g_.positions(), 1, images);
  }
  if (!winograd_gradient_) return;
  backward_ = winograd_piece(gradient_, gradient_.good_tiles_backward(), images);
}

ConvKernels::Piece ConvKernels::forward_piece(int64_t n, int threads, bool cut_filters) const {
  constexpr int64_t kPiecesPerThread = 2;
  Piece piece = largest_;
  piece.filters = g_.filters;
  if (threads == 1 || path_ == ForwardPath::kGemm) return piece;
  const int64_t wanted = kPiecesPerThread * threads;
  piece.images = std::clamp<int64_t>(n / wanted, 1, piece.images);
  // The one with the most images should have as few as can be.
  const auto busiest = [&](int64_t images) { return chunks_of(chunks_of(n, images), threads) * images; };
  for (int64_t images = piece.images - 1; 2 * images > largest_.images; --images) {
    if (busiest(images) < busiest(piece.images)) piece.images = images;
  }
  const int64_t together = chunks_of(std::max<int64_t>(n, 1), piece.images);
  if (path_ != ForwardPath::kWinograd) {
    piece.units = std::min(piece.units, chunks_of(rows_.out, chunks_of(wanted, together)));
  } else if (together < wanted) {
    cut_winograd(together, threads, cut_filters, piece);
  }
  return piece;
}

void ConvKernels::cut_winograd(int64_t together, int threads, bool cut_filters, Piece& piece) const {
  const int64_t whole = units_of_tiles(rows_, winograd_.algorithm());
  const int64_t most_units = chunks_of(piece.units, whole) * whole;
  const int64_t most_parts = cut_filters ? chunks_of(g_.filters, WinogradConv::kFilterStep) : 1;
  const Piece largest = piece;
  int64_t least = -1;
  for (int64_t units = most_units; units > 0; units -= whole) {
    const int64_t tiles = winograd_.tiles_in(rows_of(std::min(units, largest.units)));
    const int64_t by_rows = together * chunks_of(rows_.out, units);
    for (int64_t parts = 1; parts <= most_parts; ++parts) {
      const int64_t steps = chunks_of(chunks_of(g_.filters, parts), WinogradConv::kFilterStep);
      const int64_t filters = std::min(g_.filters, steps * WinogradConv::kFilterStep);
      const int64_t readers =
          chunks_of(g_.filters, filters);  // of the same inputs, each of which wrote a part
      const int64_t rounds = chunks_of(by_rows * readers, threads);
      const int64_t others = winograd_.exchange_cost(tiles) * (readers - 1) / readers;
      const int64_t cost = rounds * largest.images * (winograd_.forward_cost(tiles, filters) + others);
      if (least >= 0 && cost >= least) continue;
      least = cost;
      piece.units = std::min(units, largest.units);
      piece.filters = filters;
    }
  }
}

int64_t ConvKernels::image_chunks(int64_t n) const {
  if (kernel_gradient_ == KernelGradientPath::kWinograd) {
    const int64_t tiles = n * gradient_.tiles_in(g_.window.y.out);
    return std::min(n, tiles < kTilesPerChunk * kImageChunks ? kFewChunks : kImageChunks);
  }
  return std::min(n, std::clamp(n * g_.positions() / kPositionsPerChunk, kLeastChunks, kImageChunks));
}

int64_t ConvKernels::bias_offset() const {
  return align_floats(g_.kernel_size());
}

int64_t ConvKernels::partial_floats() const {
  return bias_offset() + align_floats(g_.filters);
}

ConvKernels::Patches ConvKernels::take_patches(const float* image, int64_t y_begin, int64_t y_end,
                                               float* scratch) const {
  if (g_.is_pointwise()) return {image + y_begin * g_.window.x.in * g_.channels, g_.channels};
  gather_patches(g_, image, y_begin, y_end, scratch);
  return {scratch, g_.patch()};
}

void ConvKernels::pack(const float* kernel, int threads, float* packed) const {
  if (path_ == ForwardPath::kWinograd) {
    parallel_for(chunks_of(g_.channels, WinogradConv::kKernelChannels), threads, [&](int64_t chunk, int) {
      const int64_t begin = chunk * WinogradConv::kKernelChannels;
      winograd_.pack_forward(kernel, begin, std::min(g_.channels, begin + WinogradConv::kKernelChannels),
                             packed);
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
  const bool winograd = path_ == ForwardPath::kWinograd;
  for_each_piece(args, winograd, [&](const ForwardPiece& piece) {
    const float* image = args.inputs[0].data + piece.n * g_.image_size();
    if (winograd) {
      return winograd_.pooled_sums(
          {piece.images, 2 * piece.begin, 2 * piece.end, piece.f_begin, piece.f_end}, image, packed, bias,
          piece.scratch, cells.at(piece.n * pooled_size() + piece.begin * cells.row), pooled_size(), width);
    }
    for (int64_t i = piece.n; i < piece.n + piece.images; ++i, image += g_.image_size()) {
      const PaddedRows rows =
          padded_rows(g_, image, 2 * piece.begin, 2 * piece.end, reinterpret_cast<float*>(piece.scratch));
      direct_conv_pooled_rows(g_, rows, piece.end - piece.begin, width, packed, bias,
                              cells.at(i * pooled_size() + piece.begin * cells.row));
    }
  });
}

void ConvKernels::sums(const ForwardPiece& piece, const ForwardArgs<float>& args, float* out,
                       int64_t step) const {
  const float* packed = packed_of(args);
  const float* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
  const float* image = args.inputs[0].data + piece.n * g_.image_size();
  const int64_t y_begin = first_row(piece.begin);
  const int64_t y_end = end_row(piece.end - 1);
  if (path_ == ForwardPath::kWinograd) {
    // In training a few images at a time are a part of a batch's arrays.
    const bool far = args.saved != nullptr || is_far(args.inputs[0].size() + args.output.size());
    return winograd_.sums({piece.images, y_begin, y_end, piece.f_begin, piece.f_end, far}, image, packed,
                          bias, piece.scratch, out, step);
  }
  for (int64_t n = 0; n < piece.images; ++n, image += g_.image_size(), out += step) {
    if (path_ == ForwardPath::kGemm) {
      sums_by_gemm(image, y_begin, y_end, args, piece.scratch, out);
    } else {
      const PaddedRows rows = padded_rows(g_, image, y_begin, y_end, reinterpret_cast<float*>(piece.scratch));
      direct_conv_rows(g_, rows, y_end - y_begin, packed, bias, out);
    }
  }
}

GemmArgs ConvKernels::product_of(const ForwardArgs<float>& args, int64_t group, int64_t m, const float* a,
                                 int64_t lda, float* out) const {
  GemmArgs product;
  product.m = m;
  product.n = g_.group_filters();
  product.k = g_.patch();
  product.a = a;
  product.lda = lda;
  product.c = out + group * product.n;
  product.ldc = g_.filters;
  if (args.variables.size() > 1) product.bias = args.variables[1].data + group * product.n;
  product.relu = g_.relu;
  if (g_.relu6) product.at_most = 6.0F;
  return product;
}

void ConvKernels::sums_by_gemm(const float* image, int64_t y_begin, int64_t y_end,
                               const ForwardArgs<float>& args, std::byte* scratch, float* out) const {
  for (int64_t group = 0; group < g_.groups; ++group) {
    const Patches patches =
        take_patches(image + group * g_.group_channels(), y_begin, y_end, reinterpret_cast<float*>(scratch));
    const int64_t positions = (y_end - y_begin) * g_.window.x.out;
    sgemm_packed_b(product_of(args, group, positions, patches.data, patches.ld, out),
                   packed_of(args) + group * packed_forward_, scratch + gemm_offset_);
  }
}

void ConvKernels::forward(const ForwardArgs<float>& args) const {
  if (g_.is_product()) {
    pack_if_needed(args);
    const int64_t positions = args.output.shape[0] * g_.positions();
    return sgemm_packed_b_parallel(
        product_of(args, 0, positions, args.inputs[0].data, g_.channels, args.output.data), packed_of(args),
        args.context.threads, args.workspace.per_thread + gemm_offset_, args.workspace.per_thread_stride);
  }
  const int64_t line = g_.window.x.out * g_.filters;
  if (g_.relu6 && path_ == ForwardPath::kWinograd) {
    return forward(args, true, [&](int64_t /*n*/, int64_t begin, int64_t end, int64_t /*y*/, float* out) {
      relu6_forward((end - begin) * line, out, out);
    });
  }
  const int64_t step = g_.window.y.out * line;
  for_each_piece(args, path_ == ForwardPath::kWinograd, [&](const ForwardPiece& piece) {
    sums(piece, args, args.output.data + piece.n * step + first_row(piece.begin) * line, step);
  });
}

}  // namespace nacre
