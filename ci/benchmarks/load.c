/* The clients that must be faster than the servers they measure: one thread, one epoll, no interpreter.
 *
 *     load ping-pong PORT SECONDS CONNECTIONS < REQUEST
 *     load connect PORT SECONDS CONCURRENT < REQUEST
 *
 * ping-pong sends REQUEST on each connection whenever as many bytes have come back. connect opens CONCURRENT
 * connections at a time, sends REQUEST on each, reads as many bytes back, and closes. Both print how often that was
 * done within SECONDS. Anything unexpected ends them with a message and status 1.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 1024
#define MOST_BYTES (1 << 20)
#define TIMEOUT 20 /* seconds without an answer */

static char request[MOST_BYTES], answer[MOST_BYTES];
static int length, port;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int open_connection(void)
{
    int one = 1, sock = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval timeout = {.tv_sec = TIMEOUT};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    return sock;
}

static void send_request(int sock)
{
    int sent, done;
    for (done = 0; done < length; done += sent)
        if ((sent = send(sock, request + done, length - done, MSG_NOSIGNAL)) < 0)
            err(1, "send");
}

static int receive(int sock, int most)
{
    int received = recv(sock, answer, most, 0);
    if (received < 0)
        err(1, "recv");
    if (received == 0)
        errx(1, "the server closed a connection");
    return received;
}

static long ping_pong(double end, int connections)
{
    struct {
        int sock, missing;
    } peers[MOST_CONNECTIONS];
    struct epoll_event events[MOST_CONNECTIONS];
    int i, epoll = epoll_create1(0);
    long done = 0;
    for (i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        peers[i].sock = open_connection();
        peers[i].missing = length;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, peers[i].sock, &event) < 0)
            err(1, "epoll_ctl");
    }
    for (i = 0; i < connections; i++)
        send_request(peers[i].sock);
    while (now() < end) {
        int ready = epoll_wait(epoll, events, MOST_CONNECTIONS, TIMEOUT * 1000);
        if (ready <= 0)
            errx(1, "no answer");
        for (i = 0; i < ready; i++) {
            int peer = events[i].data.u32;
            peers[peer].missing -= receive(peers[peer].sock, MOST_BYTES);
            if (peers[peer].missing == 0) {
                done++;
                peers[peer].missing = length;
                send_request(peers[peer].sock);
            }
        }
    }
    return done;
}

static long connect_echo_close(double end, int concurrent)
{
    /* Reset rather than closed, or the ports in TIME-WAIT would run out; the server sees an end first. */
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int i, missing, socks[MOST_CONNECTIONS];
    long done = 0;
    while (now() < end) {
        for (i = 0; i < concurrent; i++)
            socks[i] = open_connection();
        for (i = 0; i < concurrent; i++)
            send_request(socks[i]);
        for (i = 0; i < concurrent; i++) {
            for (missing = length; missing;)
                missing -= receive(socks[i], missing);
            shutdown(socks[i], SHUT_WR);
        }
        for (i = 0; i < concurrent; i++, done++) {
            if (recv(socks[i], answer, 1, 0) != 0)
                errx(1, "a connection did not end");
            setsockopt(socks[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(socks[i]);
        }
    }
    return done;
}

int main(int argc, char **argv)
{
    int count;
    double end;
    if (argc != 5 || (count = atoi(argv[4])) < 1 || count > MOST_CONNECTIONS)
        errx(1, "usage: load ping-pong|connect PORT SECONDS CONNECTIONS < REQUEST");
    port = atoi(argv[2]);
    length = fread(request, 1, sizeof request, stdin);
    if (length == 0)
        errx(1, "there is no request on the standard input");
    end = now() + atof(argv[3]);
    if (strcmp(argv[1], "connect") == 0)
        printf("%ld\n", connect_echo_close(end, count));
    else
        printf("%ld\n", ping_pong(end, count));
    return 0;
}
