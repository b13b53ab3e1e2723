#include "layers/conv_path.h"

#include <numeric>

#include "layers/quad_gradient.h"
#include "layers/sparse_gradient.h"

namespace nacre {
namespace {

// Of fewer positions in a row, a tile is too small to hide the latency of its multiply-adds, and tiles do not
// reach over rows; a product of matrices over all rows does.
constexpr int64_t kDirectPositions = 4;

// Values of one stripe of tiles at all points that a thread may need room for: 8 MB.
constexpr int64_t kMostPointFloats = 2 * 1024 * 1024;

// Networks with more channels are deep, and the rounding of layer after layer adds up: by Winograd's
// algorithm a ResNet50's probabilities were 1.7e-4 from TensorFlow's, and one register that sums over a whole
// patch is not exact enough either. The product of matrices sums in blocks. Of 3x3 the line is drawn lower:
// what ResNets begin with moved the probabilities from 6e-5 to 1.05e-4.
constexpr int64_t kMostChannels = 64;
constexpr int64_t kMostChannels3x3 = 32;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// The rule for Winograd's algorithm, in multiply-adds of one vector of 16 floats for an image. The direct
/// path needs one for each position, cell, channel and vector of filters. Winograd's needs one for each tile,
/// point, channel and vector of filters, and runs them a quarter slower (short products, whose results go
/// through memory); besides, every vector of channels and of filters is taken to the points and back, about 8
/// instructions a point; and the kernel is taken there once for a batch, which counts as one for a small
/// batch of 4. Tiles that reach over the edges count whole.
bool winograd_wins(const ConvGeometry& g, const winograd::Algorithm& algorithm) {
  const int64_t points = algorithm.points();
  const int64_t tiles =
      ceil_div(g.window.y.out, algorithm.rows) * ceil_div(g.window.x.out, algorithm.columns);
  const int64_t channel_vectors = ceil_div(g.channels, 16);
  const int64_t filter_vectors = ceil_div(g.filters, 16);
  const int64_t direct = g.positions() * g.patch() * filter_vectors;
  const int64_t products = tiles * points * g.channels * filter_vectors * 5 / 4;
  const int64_t transforms = tiles * points * (channel_vectors + filter_vectors) * 8;
  const int64_t kernel = points * g.channels * filter_vectors * 8 / 4;
  return products + transforms + kernel < direct;
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

bool winograd_suits(const ConvGeometry& g, const WindowAxis& rows, const winograd::Algorithm& algorithm) {
  return winograd_can(g, rows, algorithm) && winograd_wins(g, algorithm);
}

// A live cell costs one multiply-add for each vector of its patch, and its place in a list; the product of
// matrices runs at about twice the speed. So a pooling of two positions breaks even at the latest.
constexpr int64_t kSparsePositions = 2;
// Floats of a row of the patch up to which quads win.
constexpr int64_t kQuadLine = 12;

}  // namespace

bool choose_sparse_gradient(const ConvGeometry& geometry, const Window2& pool) {
  return SparseKernelGradient::can(geometry) &&
         geometry.positions() >= kSparsePositions * pool.y.out * pool.x.out;
}

bool choose_quad_gradient(const ConvGeometry& geometry, const FusedPool& pool) {
  // A live cell of a list costs a multiply-add for each vector of a row of its patch, however little of it is
  // used, and a load that goes over a line of the cache. For a quad each tap costs one, of dead cells as
  // well.
  return QuadKernelGradient::can(geometry, pool) && geometry.window.x.window * geometry.channels <= kQuadLine;
}

int64_t units_of_tiles(const WindowAxis& rows, const winograd::Algorithm& algorithm) {
  return std::lcm(rows.stride, algorithm.rows) / rows.stride;
}

winograd::Algorithm winograd_algorithm(const ConvGeometry& geometry, Mode mode) {
  // Root mean square errors, beside the direct path's: F(4x4, 3x3) 2.0 to 2.5, F(2x4, 5x5) 2.6 to 3.1, F(4x4,
  // 5x5) 4.9 to 6.1.
  const int64_t size = geometry.window.x.window;
  return {mode == Mode::kTraining && size == 5 ? 2 : 4, 4, size};
}

winograd::Algorithm winograd_gradient_algorithm(const ConvGeometry& geometry) {
  return {4, 4, geometry.window.x.window};
}

bool choose_winograd_gradient(const ConvGeometry& geometry, const WindowAxis& rows) {
  return winograd_suits(geometry, rows, winograd_gradient_algorithm(geometry));
}

ForwardPath choose_forward_path(const ConvGeometry& geometry, const WindowAxis& rows, Mode mode) {
  // A pointwise convolution is a product of matrices as it lies.
  if (geometry.is_pointwise()) return ForwardPath::kGemm;
  const bool is_3x3 = geometry.window.x.window == 3 && geometry.window.y.window == 3;
  if (geometry.group_channels() > (is_3x3 ? kMostChannels3x3 : kMostChannels)) return ForwardPath::kGemm;
  if (winograd_suits(geometry, rows, winograd_algorithm(geometry, mode))) return ForwardPath::kWinograd;
  // A row of the window must lie side by side in the image.
  const bool joined = geometry.groups == 1 && geometry.window.x.dilation == 1;
  return joined && geometry.window.x.out >= kDirectPositions ? ForwardPath::kDirect : ForwardPath::kGemm;
}

}  // namespace nacre
