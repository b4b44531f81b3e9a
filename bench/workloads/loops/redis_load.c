/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A fixed load for a server that speaks Redis's protocol: `redis_load PORT REQUESTS`.
 *
 * CONNECTIONS clients in a closed loop: each sends a request, SET and GET of its own keys in turn, when the
 * answer to the one before is there.  One thread over epoll.  It ends when all requests are answered,
 * and fails when an answer is an error or the server closes.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 32, NR_KEYS = 100, VALUE_BYTES = 256 };

struct client {
    int fd;
    long nr_sent;
    char answer[VALUE_BYTES + 64];
    size_t nr_bytes; /* of the answer that is being read */
};

static struct client clients[CONNECTIONS];
static char value[VALUE_BYTES + 1];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void connect_client(struct client *client, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof(address)))
        fail("connect");
}

static void send_request(struct client *client)
{
    char text[VALUE_BYTES + 128], key[32];
    int key_bytes =
        snprintf(key, sizeof(key), "key:%td:%ld", client - clients, client->nr_sent / 2 % NR_KEYS);
    int nr;
    if (client->nr_sent++ % 2 == 0)
        nr = snprintf(text, sizeof(text), "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n",
                      key_bytes, key, VALUE_BYTES, value);
    else
        nr = snprintf(text, sizeof(text), "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", key_bytes, key);
    client->nr_bytes = 0;
    if (send(client->fd, text, (size_t)nr, MSG_NOSIGNAL) != nr)
        fail("send");
}

/* True when the whole answer is there. */
static bool read_answer(struct client *client)
{
    ssize_t nr = recv(client->fd, client->answer + client->nr_bytes,
                      sizeof(client->answer) - client->nr_bytes, 0);
    if (nr <= 0)
        fail("recv");
    client->nr_bytes += (size_t)nr;
    if (client->answer[0] == '+')
        return client->answer[client->nr_bytes - 1] == '\n';
    if (client->answer[0] != '$') {
        fprintf(stderr, "redis_load: an answer begins with %c\n", client->answer[0]);
        exit(1);
    }
    return client->nr_bytes == sizeof("$256\r\n") - 1 + VALUE_BYTES + 2;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int port = atoi(argv[1]);
    long nr_requests = atol(argv[2]), nr_sent = 0, nr_answered = 0;
    memset(value, 'v', VALUE_BYTES);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < CONNECTIONS && nr_sent < nr_requests; i++, nr_sent++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        connect_client(&clients[i], port);
        if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event))
            fail("epoll_ctl");
        send_request(&clients[i]);
    }
    while (nr_answered < nr_requests) {
        struct epoll_event events[CONNECTIONS];
        int nr = epoll_wait(poll, events, CONNECTIONS, 10000);
        if (nr <= 0)
            fail("the server does not answer");
        for (int i = 0; i < nr; i++) {
            struct client *client = events[i].data.ptr;
            if (!read_answer(client))
                continue;
            nr_answered++;
            if (nr_sent < nr_requests) {
                nr_sent++;
                send_request(client);
            }
        }
    }
    printf("%ld answers\n", nr_answered);
    return 0;
}
