//! A vector of floats as wide as the machine's, so that kernels are written once.

/// The instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// 16 floats a vector.
    Avx512,
    /// 8 floats a vector, fused multiply-add.
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Isa {
    /// The fastest that this machine has.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available().next().unwrap_or(Self::Portable))
    }

    /// All that this machine has, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::Avx512, Self::Avx2, Self::Portable].into_iter().filter(|isa| isa.is_available())
    }

    /// Floats in a vector.
    pub(in crate::nets) fn lanes(self) -> usize {
        if self == Self::Avx512 { 16 } else { 8 }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn is_available(self) -> bool {
        match self {
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma"),
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// Runs a kernel in the version for this instruction set.
    #[inline]
    pub(in crate::nets) fn run<K: Kernel>(self, kernel: K) {
        assert!(self.is_available(), "{self:?} is not on this machine");
        match self {
            // SAFETY: the assertion above holds the instruction set's presence.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: plain Rust needs no instruction set.
            _ => unsafe { kernel.run::<Portable>() },
        }
    }
}

/// Work that can be compiled for any vector width. `run` must be `#[inline(always)]`, so that it takes on the
/// instruction set of its caller.
pub(in crate::nets) trait Kernel {
    /// # Safety
    /// The machine has the instruction set of `L`.
    unsafe fn run<L: Lanes>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: this function's own features are those of the vector.
    unsafe { kernel.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: this function's own features are those of the vector.
    unsafe { kernel.run::<Avx2>() }
}

/// A vector of `N` floats.
///
/// # Safety
/// All functions need the instruction set; loads and stores need `N` (or `n` ≤ `N`) valid floats behind the pointer.
pub(in crate::nets) trait Lanes: Copy {
    /// Floats in the vector.
    const N: usize;
    /// Rows of the matrix kernel's register block: as many as the registers hold beside two weight vectors.
    const ROWS: usize;
    unsafe fn splat(v: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn load_part(p: *const f32, n: usize) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn store_part(self, p: *mut f32, n: usize);
    /// self + a · b
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only gradients need it"))]
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    /// self where `mask` > 0, else 0
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only gradients need it"))]
    unsafe fn where_positive(self, mask: Self) -> Self;
}

#[derive(Clone, Copy)]
pub(in crate::nets) struct Portable([f32; 8]);

impl Lanes for Portable {
    const N: usize = 8;
    const ROWS: usize = 4;
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self([v; 8])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller has 8 floats there; f32 arrays have no stricter alignment than f32.
        Self(unsafe { *p.cast::<[f32; 8]>() })
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        // SAFETY: the caller has n floats there.
        Self(std::array::from_fn(|i| if i < n { unsafe { *p.add(i) } } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as load.
        unsafe { *p.cast::<[f32; 8]>() = self.0 }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        for (i, v) in self.0.into_iter().enumerate().take(n) {
            // SAFETY: i < n, and the caller has n floats there.
            unsafe { *p.add(i) = v }
        }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + o.0[i]))
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - o.0[i]))
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].max(o.0[i])))
    }
    #[inline(always)]
    unsafe fn where_positive(self, mask: Self) -> Self {
        Self(std::array::from_fn(|i| if mask.0[i] > 0.0 { self.0[i] } else { 0.0 }))
    }
}

#[cfg(target_arch = "x86_64")]
pub(in crate::nets) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    macro_rules! lanes {
        ($name:ident, $raw:ty, $n:literal, $rows:literal, $set1:ident, $loadu:ident, $storeu:ident, $fmadd:ident, $add:ident, $sub:ident, $max:ident,
         |$p:ident, $k:ident| $load_part:expr, |$q:ident, $j:ident, $v:ident| $store_part:expr, |$s:ident, $m:ident| $where_positive:expr) => {
            #[derive(Clone, Copy)]
            pub(in crate::nets) struct $name($raw);

            // SAFETY of all blocks below: the trait's contract, which asks just what the intrinsics ask.
            #[allow(clippy::undocumented_unsafe_blocks)]
            impl Lanes for $name {
                const N: usize = $n;
                const ROWS: usize = $rows;
                #[inline(always)]
                unsafe fn splat(v: f32) -> Self {
                    Self(unsafe { $set1(v) })
                }
                #[inline(always)]
                unsafe fn load(p: *const f32) -> Self {
                    Self(unsafe { $loadu(p) })
                }
                #[inline(always)]
                unsafe fn load_part($p: *const f32, $k: usize) -> Self {
                    Self(unsafe { $load_part })
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut f32) {
                    unsafe { $storeu(p, self.0) }
                }
                #[inline(always)]
                unsafe fn store_part(self, $q: *mut f32, $j: usize) {
                    let $v = self.0;
                    unsafe { $store_part }
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    Self(unsafe { $fmadd(a.0, b.0, self.0) })
                }
                #[inline(always)]
                unsafe fn add(self, o: Self) -> Self {
                    Self(unsafe { $add(self.0, o.0) })
                }
                #[inline(always)]
                unsafe fn sub(self, o: Self) -> Self {
                    Self(unsafe { $sub(self.0, o.0) })
                }
                #[inline(always)]
                unsafe fn max(self, o: Self) -> Self {
                    Self(unsafe { $max(self.0, o.0) })
                }
                #[inline(always)]
                unsafe fn where_positive(self, mask: Self) -> Self {
                    let ($s, $m) = (self.0, mask.0);
                    Self(unsafe { $where_positive })
                }
            }
        };
    }

    lanes!(
        Avx512,
        __m512,
        16,
        12,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_max_ps,
        |p, n| _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, p),
        |q, n, v| _mm512_mask_storeu_ps(q, ((1u32 << n) - 1) as __mmask16, v),
        |v, m| _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(m, _mm512_setzero_ps()), v)
    );
    lanes!(
        Avx2,
        __m256,
        8,
        6,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_max_ps,
        |p, n| _mm256_maskload_ps(p, mask(n)),
        |q, n, v| _mm256_maskstore_ps(q, mask(n), v),
        |v, m| _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(m, _mm256_setzero_ps()), v)
    );

    /// All bits of the first `n` lanes.
    #[inline(always)]
    unsafe fn mask(n: usize) -> __m256i {
        const BITS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: n ≤ 8, so 8 numbers stand behind the pointer.
        unsafe { _mm256_loadu_si256(BITS.as_ptr().add(8 - n).cast()) }
    }
}
