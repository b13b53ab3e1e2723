#pragma once

#include <Eigen/Core>

namespace nacre {

/// Row-major matrices over a tensor's memory, for the reference implementations.
template <typename T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename T>
using RowVector = Eigen::Matrix<T, 1, Eigen::Dynamic>;

template <typename T>
using ConstMatrixMap = Eigen::Map<const Matrix<T>>;
template <typename T>
using MatrixMap = Eigen::Map<Matrix<T>>;
/// Rows that lie a given number of elements apart.
template <typename T>
using ConstStridedMap = Eigen::Map<const Matrix<T>, 0, Eigen::OuterStride<>>;
template <typename T>
using StridedMap = Eigen::Map<Matrix<T>, 0, Eigen::OuterStride<>>;
template <typename T>
using ConstRowMap = Eigen::Map<const RowVector<T>>;
template <typename T>
using RowMap = Eigen::Map<RowVector<T>>;

}  // namespace nacre
