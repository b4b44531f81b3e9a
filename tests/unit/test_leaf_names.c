/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/leaf_names.h"

static void knows_leaves(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"tokio::time::sleep::Sleep", "sleep"},
        {"tokio::time::timeout::Timeout<Sleep>", "timeout"},
        {"tokio::time::interval::Interval::tick", "interval tick"},
        {"tokio::sync::mutex::Mutex<u8>::lock", "mutex lock"},
        {"tokio::sync::mutex::Mutex<HashMap<String, u8>>::lock_owned", "mutex lock"},
        {"tokio::sync::rwlock::RwLock<u8>::write", "rwlock write"},
        {"tokio::sync::mpsc::bounded::Receiver<Vec<u8>>::recv", "channel receive"},
        {"tokio::sync::mpsc::bounded::Sender<u8>::send", "channel send"},
        {"tokio::runtime::task::join::JoinHandle<()>", "task to end (JoinHandle)"},
        {"tokio::net::tcp::listener::TcpListener::accept", "socket accept"},
        {"tokio::io::util::read::Read<TcpStream>", "socket read"},
        {"tokio::io::util::read::Read<File>", "read"},
        {"tokio::io::util::write_all::WriteAll<OwnedWriteHalf>", "socket write"},
        {"<tokio::net::tcp::stream::TcpStream as X>::connect", "socket connect"},
        {"demo::main", NULL},
        {"", NULL},
        {"<", NULL},
        {">>>>", NULL},
        {"tokio::sync::mutex::Mutex", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *words = leaf_name(rows[i][0]);
        if (!rows[i][1] && words)
            fail_msg("%s: %s", rows[i][0], words);
        if (rows[i][1])
            assert_string_equal(words ? words : "(none)", rows[i][1]);
    }
}

/* What a user calls alike is not what tokio calls so. */
static void user_types_are_not_leaves(void **state)
{
    (void)state;
    static const char *const names[] = {"mycrate::tokio::time::sleep::Sleep", "Sleep",
                                        "demo::sleep", "my_tokio::sync::mutex::Mutex<u8>::lock"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_null(leaf_name(names[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_leaves),
        cmocka_unit_test(user_types_are_not_leaves),
    };
    return cmocka_run_group_tests_name("leaf_names", tests, NULL, NULL);
}
