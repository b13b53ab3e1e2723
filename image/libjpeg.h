#pragma once

// jpeglib.h needs these before it.
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <array>
#include <csetjmp>

namespace nacre {

/// libjpeg's error manager that makes every error and every warning leave the library by longjmp.
///
/// The rule that keeps this safe in C++: a function that calls setjmp holds only trivially destructible
/// objects and calls nothing of C++ that owns anything, so the jump skips no destructor. All state lives in a
/// struct of its caller.
struct JpegErrors {
  jpeg_error_mgr manager{};  ///< first, so that libjpeg's pointer to it is a pointer to this struct
  std::jmp_buf escape{};
  int code = 0;                                 ///< libjpeg's message code
  int parameter = 0;                            ///< the message's first number
  std::array<char, JMSG_LENGTH_MAX> message{};  ///< what libjpeg says, one line
};

/// Prepares `errors` and returns what goes into a libjpeg object's `err`.
jpeg_error_mgr* make_strict(JpegErrors* errors);

}  // namespace nacre
