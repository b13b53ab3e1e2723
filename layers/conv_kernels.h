#pragma once

#include <cstdint>
#include <optional>

#include "engine/gemm.h"
#include "engine/op_def.h"
#include "engine/tensor.h"
#include "layers/conv.h"
#include "layers/conv_path.h"
#include "layers/phase_gradient.h"
#include "layers/pool_kernels.h"
#include "layers/winograd_conv.h"

namespace nacre {

/// The fast convolution, over stripes of output rows, on the paths that conv_path.h chooses (the sparse one
/// is ConvPool's). What comes after the sums (nothing, or a pooling that is fused) is told
/// by `rows`, the axis along which units of output rows are cut: unit u takes rows [rows.start(u), +
/// rows.window) and no row belongs to two units. For a plain convolution a unit is one row, for a fused
/// pooling the rows of one pooled row.
///
/// A sum's bits depend on its patch and the kernel alone, whatever stripe it is in; the stripes of backward
/// depend on the geometry only, chunks of images on the batch only, and partial sums are added in the order
/// of the chunks: so any number of threads gives the same bits.
class ConvKernels {
 public:
  /// `pool`: what is fused behind the sums, or null. It decides about paths and workspace: the same for every
  /// call.
  ConvKernels(const ConvGeometry& geometry, const WindowAxis& rows, int64_t batch, Mode mode,
              const FusedPool* pool = nullptr);

  /// The kernel as forward computes with it, for OperatorInfo and Operator::pack.
  [[nodiscard]] size_t packed_bytes() const { return static_cast<size_t>(packed_floats_) * sizeof(float); }
  void pack(const float* kernel, int threads, float* packed) const;

  /// Workspace sizes, for OperatorInfo.
  [[nodiscard]] size_t shared_bytes() const { return shared_bytes_; }
  [[nodiscard]] size_t per_thread_bytes() const { return per_thread_bytes_; }

  /// All of forward, where nothing is fused behind it.
  void forward(const ForwardArgs<float>& args) const;

  /// Computes every stripe: with `direct` in args.output, otherwise in scratch. Then finish(n, unit_begin,
  /// unit_end, y_begin, sums) takes over: sums [rows, W', filters] start at row y_begin, relu applied.
  template <typename Finish>
  void forward(const ForwardArgs<float>& args, bool direct, const Finish& finish) const;

  /// Whether sums can be pooled before they leave the registers: then forward_pooled does it.
  [[nodiscard]] bool pools_sums() const;
  /// Forward with its pooling; `winners` [N, H'', W'', filters] may be null.
  void forward_pooled(const ForwardArgs<float>& args, uint8_t* winners) const;

  /// Whether gradients can be computed from those of pooled cells: then backward_pooled does it.
  [[nodiscard]] bool takes_pooled_gradient() const;
  void backward_pooled(const BackwardArgs<float>& args, const uint8_t* winners) const;

  /// grad_rows(n, unit_begin, unit_end, y_begin, y_end, scratch) returns the gradient [y_end - y_begin, W',
  /// filters] with respect to the sums before the activation, if need be written to `scratch`.
  template <typename GradRows>
  void backward(const BackwardArgs<float>& args, const GradRows& grad_rows) const;

 private:
  /// How forward cuts its work: so many images together, and so many units and filters of each.
  struct Piece {
    int64_t images = 1;
    int64_t units = 1;
    int64_t filters = 0;
  };
  /// The largest for the path, or smaller ones when a few rows are to keep many threads busy.
  [[nodiscard]] Piece forward_piece(int64_t n, int threads, bool cut_filters) const;
  /// Cuts units and filters, where `together` pieces are too few for the threads.
  void cut_winograd(int64_t together, int threads, bool cut_filters, Piece& piece) const;
  void plan_forward(int64_t batch);
  void plan_workspaces(int64_t batch, Mode mode);
  /// One piece of forward, on one thread.
  struct ForwardPiece {
    int64_t n;
    int64_t images;
    int64_t begin;  ///< of the units
    int64_t end;
    int64_t f_begin;  ///< of the filters
    int64_t f_end;
    std::byte* scratch;  ///< of the thread
  };
  /// body(piece) for every piece of forward; `cut_filters`: whether they may have a part of the filters.
  template <typename Body>
  void for_each_piece(const ForwardArgs<float>& args, bool cut_filters, const Body& body) const;
  /// Of one image's pooled cells.
  [[nodiscard]] int64_t pooled_size() const { return pool_->window.y.out * pool_->window.x.out * g_.filters; }
  /// What Winograd's products are long enough for.
  [[nodiscard]] Piece winograd_piece(const WinogradConv& winograd, int64_t good_tiles, int64_t batch) const;
  /// Output rows of that many units, gaps between them included.
  [[nodiscard]] int64_t rows_of(int64_t units) const;
  [[nodiscard]] int64_t first_row(int64_t unit) const { return rows_.start(unit) + rows_.first_cell(unit); }
  [[nodiscard]] int64_t end_row(int64_t unit) const { return rows_.start(unit) + rows_.end_cell(unit); }
  [[nodiscard]] int64_t image_chunks(int64_t n) const;
  /// Of a chunk's partial gradients: the kernel's, then the bias's.
  [[nodiscard]] int64_t partial_floats() const;
  [[nodiscard]] int64_t bias_offset() const;

  /// The patches of some rows: in the image itself, or a copy in `scratch`.
  struct Patches {
    const float* data;
    int64_t ld;
  };
  Patches take_patches(const float* image, int64_t y_begin, int64_t y_end, float* scratch) const;
  /// The packed kernel: the one given, or the workspace's, where pack_if_needed puts it.
  [[nodiscard]] static const float* packed_of(const ForwardArgs<float>& args) {
    return args.packed != nullptr ? reinterpret_cast<const float*>(args.packed)
                                  : args.workspace.shared_as<float>();
  }
  void pack_if_needed(const ForwardArgs<float>& args) const {
    if (args.packed == nullptr) {
      pack(args.variables[0].data, args.context.threads, args.workspace.shared_as<float>());
    }
  }
  /// The product, bias and activation of `m` patches of one group that lie `lda` floats apart.
  [[nodiscard]] GemmArgs product_of(const ForwardArgs<float>& args, int64_t group, int64_t m, const float* a,
                                    int64_t lda, float* out) const;
  /// To `out`, images `step` floats apart.
  void sums(const ForwardPiece& piece, const ForwardArgs<float>& args, float* out, int64_t step) const;
  void sums_by_gemm(const float* image, int64_t y_begin, int64_t y_end, const ForwardArgs<float>& args,
                    std::byte* scratch, float* out) const;
  void plan_backward(int64_t batch);
  void pack_for_backward(const BackwardArgs<float>& args) const;
  /// Some units of some images, on one thread.
  struct BackwardPiece {
    int64_t n;
    int64_t images;
    int64_t begin;
    int64_t end;
    bool first;          ///< of its chunk of images
    float* partial;      ///< the chunk's gradients of kernel and bias
    std::byte* scratch;  ///< of the thread
  };
  /// body(piece) for every piece, then the gradients of the variables.
  template <typename Body>
  void for_each_backward_piece(const BackwardArgs<float>& args, const Body& body) const;
  /// The gradients of a piece's sums, images `step` floats apart.
  void add_gradients(const BackwardArgs<float>& args, const BackwardPiece& piece, const float* grad,
                     int64_t step) const;
  /// The same where sums are one product: of all images of the piece at once.
  void add_product_gradients(const BackwardArgs<float>& args, const BackwardPiece& piece,
                             const float* grad) const;
  [[nodiscard]] WinogradConv::Gradients winograd_gradients(const BackwardArgs<float>& args,
                                                           const BackwardPiece& piece) const;
  void zero_input_gradient(const BackwardArgs<float>& args, const BackwardPiece& piece) const;
  void add_bias_gradient(int64_t positions, const float* grad, bool first, float* bias) const;
  void add_kernel_gradient(const BackwardPiece& piece, const float* image, const float* grad,
                           bool first) const;
  void add_kernel_gradient_by_gemm(const float* image, int64_t group, bool first, int64_t y_begin,
                                   int64_t y_end, const float* grad, float* partial,
                                   std::byte* scratch) const;
  void add_input_gradient(const float* packed_kernel, int64_t group, int64_t y_begin, int64_t y_end,
                          const float* grad, float* grad_image, std::byte* scratch) const;
  [[nodiscard]] static bool wants_kernel(const BackwardArgs<float>& args) {
    return args.grad_variables[0].data != nullptr;
  }
  [[nodiscard]] static bool wants_bias(const BackwardArgs<float>& args) {
    return args.grad_variables.size() > 1 && args.grad_variables[1].data != nullptr;
  }
  void combine(const BackwardArgs<float>& args) const;

  ConvGeometry g_;
  WindowAxis rows_;
  std::optional<FusedPool> pool_;
  ForwardPath path_;
  bool winograd_gradient_;  // of the input
  KernelGradientPath kernel_gradient_;
  std::optional<PhaseGradient> phases_;  // of the input, with steps above 1
  WinogradConv winograd_;
  WinogradConv gradient_;         // of input and kernel
  int64_t units_per_stripe_ = 1;  // of products with patches
  Piece largest_;                 // of forward
  Piece backward_;
  int64_t cells_offset_ = 0;     // shared, in floats: the kernel's cells, after the one at Winograd's points
  int64_t packed_floats_ = 0;    // of the kernel for forward
  int64_t packed_forward_ = 0;   // floats of one group's packed kernel
  int64_t packed_backward_ = 0;  // of its transpose
  size_t shared_bytes_ = 0;
  size_t per_thread_bytes_ = 0;
  // Offsets in the workspaces.
  size_t partials_offset_ = 0;     // shared: after the packed kernel
  size_t sums_offset_ = 0;         // per thread: after the patches
  size_t gemm_offset_ = 0;         // per thread
  size_t kernel_sums_offset_ = 0;  // per thread: what the kernel's gradient by Winograd is summed in
};

template <typename Body>
void ConvKernels::for_each_piece(const ForwardArgs<float>& args, bool cut_filters, const Body& body) const {
  pack_if_needed(args);
  const int64_t batch = args.output.shape[0];
  const Piece size = forward_piece(batch, args.context.threads, cut_filters);
  const int64_t of_filters = chunks_of(g_.filters, size.filters);
  const int64_t per_image = chunks_of(rows_.out, size.units) * of_filters;
  parallel_for(chunks_of(batch, size.images) * per_image, args.context.threads,
               [&](int64_t chunk, int worker) {
                 ForwardPiece piece{};
                 piece.n = chunk / per_image * size.images;
                 piece.images = std::min(size.images, batch - piece.n);
                 piece.begin = chunk % per_image / of_filters * size.units;
                 piece.end = std::min(rows_.out, piece.begin + size.units);
                 piece.f_begin = chunk % of_filters * size.filters;
                 piece.f_end = std::min(g_.filters, piece.f_begin + size.filters);
                 piece.scratch = args.workspace.of_thread<std::byte>(worker);
                 body(piece);
               });
}

template <typename Finish>
void ConvKernels::forward(const ForwardArgs<float>& args, bool direct, const Finish& finish) const {
  const int64_t line = g_.window.x.out * g_.filters;
  for_each_piece(args, false, [&](const ForwardPiece& piece) {
    const int64_t y_begin = first_row(piece.begin);
    const int64_t step = (direct ? g_.window.y.out : end_row(piece.end - 1) - y_begin) * line;
    float* out = direct ? args.output.data + piece.n * step + y_begin * line
                        : reinterpret_cast<float*>(piece.scratch + sums_offset_);
    sums(piece, args, out, step);
    for (int64_t i = 0; i < piece.images; ++i) {
      finish(piece.n + i, piece.begin, piece.end, y_begin, out + i * step);
    }
  });
}

template <typename Body>
void ConvKernels::for_each_backward_piece(const BackwardArgs<float>& args, const Body& body) const {
  pack_for_backward(args);
  const int64_t batch = args.output.shape[0];
  const int64_t chunks = image_chunks(batch);
  parallel_for(chunks, args.context.threads, [&](int64_t chunk, int worker) {
    auto* partials = reinterpret_cast<float*>(args.workspace.shared + partials_offset_);
    BackwardPiece piece{};
    piece.partial = partials + chunk * partial_floats();
    piece.scratch = args.workspace.of_thread<std::byte>(worker);
    const int64_t first_image = chunk * batch / chunks;
    const int64_t images = (chunk + 1) * batch / chunks - first_image;
    const int64_t runs = chunks_of(images, backward_.images);
    for (int64_t run = 0; run < runs; ++run) {
      piece.n = first_image + run * images / runs;
      piece.images = first_image + (run + 1) * images / runs - piece.n;
      for (piece.begin = 0; piece.begin < rows_.out; piece.begin = piece.end) {
        piece.end = std::min(rows_.out, piece.begin + backward_.units);
        piece.first = run == 0 && piece.begin == 0;
        body(piece);
      }
    }
    if (kernel_gradient_ == KernelGradientPath::kWinograd && wants_kernel(args)) {
      gradient_.finish_kernel_gradient(reinterpret_cast<float*>(piece.scratch + kernel_sums_offset_),
                                       piece.partial);
    }
  });
  combine(args);
}

template <typename GradRows>
void ConvKernels::backward(const BackwardArgs<float>& args, const GradRows& grad_rows) const {
  for_each_backward_piece(args, [&](const BackwardPiece& piece) {
    const int64_t y_begin = first_row(piece.begin);
    const int64_t y_end = end_row(piece.end - 1);
    auto* room = reinterpret_cast<float*>(piece.scratch + sums_offset_);
    int64_t step = (y_end - y_begin) * g_.window.x.out * g_.filters;
    const float* grads = grad_rows(piece.n, piece.begin, piece.end, y_begin, y_end, room);
    // Gradients that need no room lie in whole images.
    if (grads != room) step = g_.positions() * g_.filters;
    for (int64_t i = 1; i < piece.images; ++i) {
      static_cast<void>(grad_rows(piece.n + i, piece.begin, piece.end, y_begin, y_end, room + i * step));
    }
    add_gradients(args, piece, grads, step);
  });
}

}  // namespace nacre
