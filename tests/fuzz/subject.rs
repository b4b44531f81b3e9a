// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program small enough to be damaged thousands of times: futures of every kind, a trait impl, an
//! await inside a macro, a dyn vtable, and one constant in the shape of a tokio task vtable. No std,
//! no libc, no runtime. Built as an object file of a crate named tokio, then linked alone.
#![no_std]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

pub struct Nap(pub u32, pub u64);

impl Future for Nap {
    type Output = u32;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        self.0 -= 1;
        if self.0 == 0 { Poll::Ready(7) } else { Poll::Pending }
    }
}

macro_rules! wait {
    ($future:expr) => {
        $future.await
    };
}

pub trait Handler {
    fn call(&self, request: [u8; 40]) -> impl Future<Output = u32>;
}

pub struct Service<T>(T);

impl<T: Copy + Into<u32>> Handler for Service<T> {
    async fn call(&self, request: [u8; 40]) -> u32 {
        let sum = Nap(3, 0).await + request[2] as u32;
        let copy = request;
        let more = wait!(Nap(sum, 1));
        more + copy[1] as u32 + self.0.into()
    }
}

pub enum Either {
    First(u64),
    Second { small: u8, wide: u32 },
    Neither,
}

async fn leaf(size: u32) -> Either {
    let page = [size as u8; 300];
    match Nap(page[9] as u32, 2).await {
        0 => Either::First(page[3] as u64),
        1 => Either::Second { small: page[4], wide: size },
        _ => Either::Neither,
    }
}

async fn middle(size: u32) -> u32 {
    let first = leaf(size).await;
    let block = async move {
        let inside = leaf(size + 1).await;
        Nap(size, 3).await + matches!(inside, Either::First(_)) as u32
    };
    let second = block.await;
    let closure = async |add: u32| Nap(add, 4).await + second;
    match first {
        Either::First(n) => closure(n as u32).await,
        Either::Second { small, wide } => small as u32 + wide,
        Either::Neither => wait!(Nap(1, 5)),
    }
}

pub async fn serve(size: u32) -> u32 {
    let service = Service(size);
    let answer = service.call([size as u8; 40]).await;
    middle(size).await + answer
}

pub mod runtime {
    pub mod task {
        pub mod core {
            #[repr(C)]
            pub struct Header {
                state: usize,
                queue_next: usize,
                vtable: &'static super::raw::Vtable,
                owner_id: u64,
            }

            #[repr(C)]
            pub struct Cell<T, S> {
                pub header: Header,
                pub scheduler: S,
                pub task_id: u64,
                pub stage: T,
                pub trailer: [usize; 4],
            }
        }

        pub mod raw {
            use super::core::Cell;
            use ::core::future::Future;
            use ::core::pin::Pin;
            use ::core::task::{Context, Waker};

            #[repr(C)]
            pub struct Vtable {
                pub poll: unsafe fn(*mut u8),
                pub schedule: unsafe fn(*mut u8),
                pub dealloc: unsafe fn(*mut u8),
                pub try_read_output: unsafe fn(*mut u8),
                pub drop_join_handle_slow: unsafe fn(*mut u8),
                pub drop_abort_handle: unsafe fn(*mut u8),
                pub shutdown: unsafe fn(*mut u8),
                pub trailer_offset: usize,
                pub scheduler_offset: usize,
                pub id_offset: usize,
            }

            #[inline(never)]
            pub unsafe fn poll<T: Future, S>(at: *mut u8) {
                unsafe {
                    let cell = &mut *at.cast::<Cell<T, S>>();
                    let mut context = Context::from_waker(Waker::noop());
                    let _ = Pin::new_unchecked(&mut cell.stage).poll(&mut context).is_ready();
                }
            }

            pub unsafe fn dealloc<T: Future, S>(at: *mut u8) {
                unsafe { ::core::ptr::drop_in_place(at.cast::<Cell<T, S>>()) }
            }

        }
    }
}

pub struct CurrentThread(pub u64);

struct Tables<F: Future>(F);

impl<F: Future> Tables<F> {
    const SERVE: runtime::task::raw::Vtable = runtime::task::raw::Vtable {
        poll: runtime::task::raw::poll::<F, CurrentThread>,
        schedule: runtime::task::raw::dealloc::<F, CurrentThread>,
        dealloc: runtime::task::raw::dealloc::<F, CurrentThread>,
        try_read_output: runtime::task::raw::dealloc::<F, CurrentThread>,
        drop_join_handle_slow: runtime::task::raw::dealloc::<F, CurrentThread>,
        drop_abort_handle: runtime::task::raw::dealloc::<F, CurrentThread>,
        shutdown: runtime::task::raw::dealloc::<F, CurrentThread>,
        trailer_offset: core::mem::size_of::<runtime::task::core::Cell<F, CurrentThread>>() - 32,
        scheduler_offset: core::mem::offset_of!(
            runtime::task::core::Cell<F, CurrentThread>,
            scheduler
        ),
        id_offset: core::mem::offset_of!(runtime::task::core::Cell<F, CurrentThread>, task_id),
    };
    fn table(&self) -> &'static runtime::task::raw::Vtable {
        &Self::SERVE
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn spawn(size: u32) -> *const u8 {
    let tables = Tables(serve(size));
    (tables.table() as *const runtime::task::raw::Vtable).cast()
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn poll_dyn(future: &mut (dyn Future<Output = u32> + Unpin), context: &mut Context<'_>) -> u32 {
    match Pin::new(future).poll(context) {
        Poll::Ready(value) => value,
        Poll::Pending => 0,
    }
}

#[unsafe(no_mangle)]
pub fn nap_dyn(context: &mut Context<'_>) -> u32 {
    poll_dyn(&mut Nap(3, 4), context)
}
