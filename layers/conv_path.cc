#include "layers/conv_path.h"

#include <numeric>

#include "layers/phase_gradient.h"
#include "layers/quad_gradient.h"
#include "layers/sparse_gradient.h"
#include "layers/sparse_input.h"
#include "layers/winograd_few.h"

namespace nacre {
namespace {

// Of fewer positions in a row, a tile is too small to hide the latency of its multiply-adds, and tiles do not
// reach over rows; a product of matrices over all rows does.
constexpr int64_t kDirectPositions = 4;

// Values of the least stripe of tiles at all points: 8 MB. A stripe may have more tiles, where channels are
// many.
constexpr int64_t kMostPointFloats = 2 * 1024 * 1024;

// Networks with more channels are deep, and the rounding of layer after layer adds up: by Winograd's
// algorithm with large tiles a ResNet50's probabilities were 1.7e-4 from TensorFlow's, and one register that
// sums over a whole patch is not exact enough either. Small tiles of 3x3 round less than it; for what they do
// not suit, the product of matrices sums in blocks. Of 3x3 the line is drawn lower: what ResNets begin with
// moved the probabilities from 6e-5 to 1.05e-4.
constexpr int64_t kMostChannels = 64;
constexpr int64_t kMostChannels3x3 = 32;

// Channels from which on sums in blocks round so much less than one chain that F(4x4, 5x5) is exact enough
// for training.
constexpr int64_t kManyTerms = 48;

bool is_deep(const ConvGeometry& g) {
  const bool is_3x3 = g.window.x.window == 3 && g.window.y.window == 3;
  return g.group_channels() > (is_3x3 ? kMostChannels3x3 : kMostChannels);
}

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t vectors_of(int64_t count) {
  return ceil_div(count, 16);
}

/// The rule for Winograd's algorithm, in multiply-adds of one vector of 16 floats for an image. The direct
/// path needs one for each position, cell, channel and vector of filters. Winograd's needs one for each tile,
/// point, channel and vector of filters, and runs them a quarter slower (short products, whose results go
/// through memory); besides, every vector of channels and of filters is taken to the points and back, about 8
/// instructions a point; and the kernel is taken there once for a batch, which counts as one for a small
/// batch of 4 (its gradient comes back once for a chunk of images). Tiles that reach over the edges count
/// whole. Of the gradients of kernel and input it is the same. Forward of few channels (winograd_few.h) stays
/// in the first-level cache: its products run at full speed, and taking sums back costs as much as three
/// channels.
struct WinogradCost {
  int64_t products;
  int64_t transforms;  ///< of all channels and filters
  int64_t kernel;

  WinogradCost(const ConvGeometry& g, const winograd::Algorithm& algorithm, bool of_few = false) {
    const int64_t points = algorithm.points();
    const int64_t tiles =
        ceil_div(g.window.y.out, algorithm.rows) * ceil_div(g.window.x.out, algorithm.columns);
    const int64_t filter_vectors = vectors_of(g.filters);
    products = tiles * points * g.channels * filter_vectors * 5 / 4;
    transforms = tiles * points * (vectors_of(g.channels) + filter_vectors) * 8;
    kernel = points * g.channels * filter_vectors * 8 / 4;
    if (!of_few) return;
    products = tiles * points * g.channels * filter_vectors;
    transforms = tiles * points * (2 + 3 * filter_vectors);
  }

  [[nodiscard]] int64_t all() const { return products + transforms + kernel; }
};

int64_t direct_cost(const ConvGeometry& g) {
  return g.positions() * g.patch() * vectors_of(g.filters);
}

bool winograd_wins(const ConvGeometry& g, const winograd::Algorithm& algorithm, bool of_few) {
  return WinogradCost(g, algorithm, of_few).all() < direct_cost(g);
}

/// By a tenth: what a larger tile rounds more should buy something.
bool costs_clearly_less(const ConvGeometry& g, const winograd::Algorithm& one,
                        const winograd::Algorithm& other) {
  return WinogradCost(g, one).all() * 10 < WinogradCost(g, other).all() * 9;
}

/// Which of two costs less for the batches of training, beside which the kernel's way to the points and back
/// is short.
bool suits_batches(const ConvGeometry& g, const winograd::Algorithm& large,
                   const winograd::Algorithm& usual) {
  const WinogradCost one(g, large);
  const WinogradCost other(g, usual);
  return one.products + one.transforms + one.kernel / 8 <
         other.products + other.transforms + other.kernel / 8;
}

bool winograd_can(const ConvGeometry& g, const WindowAxis& rows, const winograd::Algorithm& algorithm) {
  const WindowAxis& y = g.window.y;
  const WindowAxis& x = g.window.x;
  const bool plain = g.groups == 1 && x.stride == 1 && y.stride == 1 && x.dilation == 1 && y.dilation == 1;
  if (!plain || x.window != y.window || (x.window != 3 && x.window != 5)) return false;
  // Stripes must begin where a row of tiles does, or their tiles would lie elsewhere than those of others.
  if (rows.before > 0) return false;
  const int64_t least_tiles = ceil_div(units_of_tiles(rows, algorithm) * rows.stride, algorithm.rows) *
                              ceil_div(g.window.x.out, algorithm.columns);
  return least_tiles * algorithm.points() * (g.channels + g.filters) <= kMostPointFloats;
}

bool winograd_suits(const ConvGeometry& g, const WindowAxis& rows, const winograd::Algorithm& algorithm,
                    bool of_few) {
  return winograd_can(g, rows, algorithm) && winograd_wins(g, algorithm, of_few);
}

// A live cell costs one multiply-add for each vector of its patch, and its place in a list; the product of
// matrices runs at about twice the speed. So a pooling of two positions breaks even at the latest.
constexpr int64_t kSparsePositions = 2;
// Floats of a row of the patch up to which quads win.
constexpr int64_t kQuadLine = 12;

bool sparse_can(const ConvGeometry& g, const Window2& pool) {
  return SparseKernelGradient::can(g) && g.positions() >= kSparsePositions * pool.y.out * pool.x.out;
}

/// Of a kernel's gradient, in the measure of WinogradCost: two of three cells are alive, and cost twice what
/// they would in a product of matrices.
int64_t sparse_cost(const ConvGeometry& g, const Window2& pool) {
  return pool.y.out * pool.x.out * g.patch() * vectors_of(g.filters) * 4 / 3;
}

/// Whether a row of the window lies side by side in the image.
bool is_joined(const ConvGeometry& g) {
  return g.groups == 1 && g.window.x.dilation == 1;
}

}  // namespace

KernelGradientPath choose_kernel_gradient(const ConvGeometry& geometry, const WindowAxis& rows,
                                          const FusedPool* pool) {
  const bool winograd = choose_winograd_gradient(geometry, rows);
  if (pool != nullptr && sparse_can(geometry, pool->window)) {
    if (!winograd || !pool->of_pairs()) return KernelGradientPath::kSparse;
    // The gradients are at the points already, for the input's.
    const WinogradCost cost(geometry, winograd_gradient_algorithm(geometry));
    const int64_t shared = cost.products + cost.transforms / 2 + cost.kernel;
    return shared < sparse_cost(geometry, pool->window) ? KernelGradientPath::kWinograd
                                                        : KernelGradientPath::kSparse;
  }
  if (winograd) return KernelGradientPath::kWinograd;
  return is_joined(geometry) ? KernelGradientPath::kDirect : KernelGradientPath::kGemm;
}

bool choose_sparse_input_gradient(const ConvGeometry& geometry, const WindowAxis& rows,
                                  const FusedPool& pool) {
  return SparseInputGradient::can(geometry, pool) &&
         choose_kernel_gradient(geometry, rows, &pool) == KernelGradientPath::kSparse;
}

bool choose_quad_gradient(const ConvGeometry& geometry, const WindowAxis& rows, const FusedPool& pool) {
  // A live cell of a list costs a multiply-add for each vector of a row of its patch, however little of it is
  // used, and a load that goes over a line of the cache. For a quad each tap costs one, of dead cells as
  // well.
  return choose_kernel_gradient(geometry, rows, &pool) == KernelGradientPath::kSparse &&
         QuadKernelGradient::can(geometry, pool) && geometry.window.x.window * geometry.channels <= kQuadLine;
}

int64_t units_of_tiles(const WindowAxis& rows, const winograd::Algorithm& algorithm) {
  return std::lcm(rows.stride, algorithm.rows) / rows.stride;
}

winograd::Algorithm winograd_algorithm(const ConvGeometry& geometry, const WindowAxis& rows, Mode mode) {
  // Root mean square errors, beside the direct path's: docs/performance.md.
  const int64_t size = geometry.window.x.window;
  if (size == 3) {
    if (is_deep(geometry)) return {2, 2, 3};
    const winograd::Algorithm usual{4, 4, 3};
    const winograd::Algorithm large{6, 6, 3};
    if (mode == Mode::kTraining || winograd::takes_few(usual, geometry.channels)) return usual;
    return winograd_can(geometry, rows, large) && costs_clearly_less(geometry, large, usual) ? large : usual;
  }
  const winograd::Algorithm usual{4, 4, size};
  const winograd::Algorithm large{6, 6, size};
  if (mode == Mode::kInference) return usual;
  if (geometry.channels < kManyTerms) return large;
  return winograd_can(geometry, rows, large) && suits_batches(geometry, large, usual) ? large : usual;
}

winograd::Algorithm winograd_gradient_algorithm(const ConvGeometry& geometry) {
  const winograd::Algorithm usual{4, 4, geometry.window.x.window};
  const winograd::Algorithm large{6, 6, 5};
  return usual.size == 5 && suits_batches(geometry, large, usual) ? large : usual;
}

bool choose_winograd_gradient(const ConvGeometry& geometry, const WindowAxis& rows) {
  return winograd_suits(geometry, rows, winograd_gradient_algorithm(geometry), false);
}

bool choose_phase_gradient(const ConvGeometry& geometry, const FusedPool* pool) {
  // One register sums over the cells of a phase and all filters: of more it would round more than a product,
  // which sums in blocks.
  constexpr int64_t kMostFilters = 128;
  const WindowAxis& x = geometry.window.x;
  return pool == nullptr && PhaseGradient::can(geometry) && geometry.filters <= kMostFilters &&
         x.in / x.stride >= kDirectPositions;
}

ForwardPath choose_forward_path(const ConvGeometry& geometry, const WindowAxis& rows, Mode mode) {
  // A pointwise convolution is a product of matrices as it lies.
  if (geometry.is_pointwise()) return ForwardPath::kGemm;
  // Of 5x5 no tiles round little enough for deep networks.
  const bool deep = is_deep(geometry);
  const winograd::Algorithm algorithm = winograd_algorithm(geometry, rows, mode);
  if ((!deep || geometry.window.x.window == 3) &&
      winograd_suits(geometry, rows, algorithm, winograd::takes_few(algorithm, geometry.channels))) {
    return ForwardPath::kWinograd;
  }
  if (deep) return ForwardPath::kGemm;
  return is_joined(geometry) && geometry.window.x.out >= kDirectPositions ? ForwardPath::kDirect
                                                                          : ForwardPath::kGemm;
}

}  // namespace nacre
