/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* C++: exceptions thrown through frames with destructors that allocate, caught, thrown again; containers, threads. */
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct noisy {
    std::string text;
    explicit noisy(int n) : text(40 + n, 'n')
    {
    }
    ~noisy()
    {
        std::string other = text + "destroyed while unwinding";
        if (other.empty())
            abort();
    }
};

static int fall(int depth, unsigned &seed)
{
    noisy here(depth);
    seed = seed * 1664525 + 1013904223;
    if (depth == 0)
        throw std::runtime_error("a message that is long enough to be allocated " + here.text);
    try {
        std::function<int(int)> again = [&seed, depth](int d) { return fall(d, seed) + depth; };
        return again(depth - 1);
    } catch (std::runtime_error &) {
        if ((seed >> 16) % 3 == 0)
            throw;
        if ((seed >> 16) % 3 == 1)
            throw std::runtime_error(std::string(60, 'x'));
        return depth;
    }
}

static void work(int rounds)
{
    std::map<std::string, std::unique_ptr<std::vector<int>>> rows;
    unsigned seed = 7;
    int caught = 0;
    for (int i = 0; i < rounds; i++) {
        rows["a key that does not fit into the string " + std::to_string(i % 97)] =
            std::make_unique<std::vector<int>>(i % 50);
        try {
            fall(i % 25, seed);
        } catch (std::exception &e) {
            caught += e.what()[0] != 0;
        }
    }
    std::printf("%d\n", caught > 0);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? std::atoi(argv[1]) : 100;
    std::thread other(work, rounds);
    work(rounds);
    other.join();
}
