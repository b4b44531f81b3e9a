/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A fixed load for a server: `server_load redis|http PORT REQUESTS`.
 *
 * CONNECTIONS clients in a closed loop: each sends a request when the answer to the one before is there.  Redis's
 * are SET and GET of the client's own keys in turn, HTTP's a POST of as many bytes.  One thread over epoll.
 * It ends when all requests are answered, and fails when an answer is an error or the server closes.
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
    char answer[VALUE_BYTES + 256];
    size_t nr_bytes; /* of the answer that is being read */
};

static struct client clients[CONNECTIONS];
static char value[VALUE_BYTES + 1];
static bool is_http;

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

static int write_redis(const struct client *client, char *text, size_t room)
{
    char key[32];
    int key_bytes =
        snprintf(key, sizeof(key), "key:%td:%ld", client - clients, client->nr_sent / 2 % NR_KEYS);
    if (client->nr_sent % 2 == 0)
        return snprintf(text, room, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", key_bytes, key,
                        VALUE_BYTES, value);
    return snprintf(text, room, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", key_bytes, key);
}

static int write_http(char *text, size_t room)
{
    return snprintf(text, room,
                    "POST /values HTTP/1.1\r\nhost: localhost\r\nuser-agent: load\r\n"
                    "content-type: text/plain\r\ncontent-length: %d\r\n\r\n%s",
                    VALUE_BYTES, value);
}

static void send_request(struct client *client)
{
    char text[VALUE_BYTES + 256];
    int nr = is_http ? write_http(text, sizeof(text)) : write_redis(client, text, sizeof(text));
    client->nr_sent++;
    client->nr_bytes = 0;
    if (send(client->fd, text, (size_t)nr, MSG_NOSIGNAL) != nr)
        fail("send");
}

static bool is_redis_answer(const struct client *client)
{
    if (client->answer[0] == '+')
        return client->answer[client->nr_bytes - 1] == '\n';
    if (client->answer[0] != '$') {
        fprintf(stderr, "server_load: an answer begins with %c\n", client->answer[0]);
        exit(1);
    }
    return client->nr_bytes == sizeof("$256\r\n") - 1 + VALUE_BYTES + 2;
}

static bool is_http_answer(struct client *client)
{
    client->answer[client->nr_bytes] = 0;
    const char *end = strstr(client->answer, "\r\n\r\n");
    const char *length = strcasestr(client->answer, "content-length:");
    if (strncmp(client->answer, "HTTP/1.1 200", client->nr_bytes < 12 ? client->nr_bytes : 12) !=
        0) {
        fprintf(stderr, "server_load: an answer is %.40s\n", client->answer);
        exit(1);
    }
    return end && length && end + 4 + atoi(length + 15) == client->answer + client->nr_bytes;
}

/* True when the whole answer is there. */
static bool read_answer(struct client *client)
{
    ssize_t nr = recv(client->fd, client->answer + client->nr_bytes,
                      sizeof(client->answer) - 1 - client->nr_bytes, 0);
    if (nr <= 0)
        fail("recv");
    client->nr_bytes += (size_t)nr;
    return is_http ? is_http_answer(client) : is_redis_answer(client);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    is_http = strcmp(argv[1], "http") == 0;
    int port = atoi(argv[2]);
    long nr_requests = atol(argv[3]), nr_sent = 0, nr_answered = 0;
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
