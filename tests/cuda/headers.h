// Whether two function types pass their arguments alike: the same number, of the same sizes and kinds.
#pragma once

#include <type_traits>

template <typename T, typename = void>
struct IsComplete : std::false_type {};
template <typename T>
struct IsComplete<T, std::void_t<decltype(sizeof(T))>> : std::true_type {};

template <typename A, typename B>
constexpr bool alike() {
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using To = std::remove_cv_t<std::remove_pointer_t<A>>;
    using Other = std::remove_cv_t<std::remove_pointer_t<B>>;
    constexpr bool known = IsComplete<To>::value && IsComplete<Other>::value;  // void and handles are not
    if constexpr (known) return std::is_class_v<To> || alike<To, Other>();     // structs are compared on their own
    return true;
  } else {
    return std::is_pointer_v<A> == std::is_pointer_v<B> && std::is_floating_point_v<A> == std::is_floating_point_v<B> &&
           sizeof(A) == sizeof(B);
  }
}

template <typename Ours, typename Theirs>
struct PassAlike : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
struct PassAlike<R (*)(A...), S (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B))
      return alike<R, S>() && (... && alike<A, B>());
    else
      return false;
  }();
};
