// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads libplugin.so, which has a tokio and an allocator of its own.

use std::ffi::{c_char, c_int, c_ulong, c_void, CString};
use std::mem::transmute;

pub const PLUGIN_TASKS: c_ulong = 25;

unsafe fn function(library: *mut c_void, name: &std::ffi::CStr) -> *mut c_void {
    let found = libc::dlsym(library, name.as_ptr() as *const c_char);
    assert!(!found.is_null(), "the plugin has {name:?}");
    found
}

/// Returns when its tasks wait.
pub fn load(path: &str) {
    let path = CString::new(path).expect("no NUL in a path");
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW as c_int);
        assert!(!library.is_null(), "the plugin can be loaded");
        let spawn: extern "C" fn(c_ulong) -> c_ulong =
            transmute(function(library, c"plugin_spawn"));
        let is_quiet: extern "C" fn() -> c_ulong = transmute(function(library, c"plugin_is_quiet"));
        assert_eq!(spawn(PLUGIN_TASKS), PLUGIN_TASKS);
        while is_quiet() == 0 {
            std::thread::yield_now();
        }
    }
}
