/* The floor of a durable C-STORE receiver: it writes and syncs the bytes, and knows nothing else.
 *
 *     sink FOLDER        prints its port
 *
 * One process for each association. Every proposed presentation context is accepted with its first
 * transfer syntax. The data set of each C-STORE goes to a file of its own; once its last fragment is
 * there, the file and the folder are fsynced and the answer is Success. There is no database, no
 * look at the header, no file meta, no check of anything: less cannot be done durably.
 *
 * References: PS3.8 9.3.2 to 9.3.7 (PDUs), Annex E (PDV); PS3.7 9.3.1 (C-STORE).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PDU_BYTES 131072
static unsigned char buffer[1 << 20];

static void read_all(int fd, unsigned char *to, size_t count) {
    while (count) {
        ssize_t got = read(fd, to, count);
        if (got <= 0) _exit(0);
        to += got;
        count -= (size_t)got;
    }
}

static void write_all(int fd, const unsigned char *from, size_t count) {
    while (count) {
        ssize_t put = write(fd, from, count);
        if (put <= 0) _exit(1);
        from += put;
        count -= (size_t)put;
    }
}

static uint32_t big32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned big16(const unsigned char *p) { return (unsigned)p[0] << 8 | p[1]; }

static void put16(unsigned char *p, unsigned v) { p[0] = v >> 8; p[1] = v & 255; }

static void put32(unsigned char *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }

/* Answer an A-ASSOCIATE-RQ of `length` bytes in `rq` (PS3.8 9.3.3). */
static void accept_association(int fd, const unsigned char *rq, uint32_t length) {
    static unsigned char ac[65536];
    size_t at = 6;
    memcpy(ac + at, rq, 68);
    at += 68;
    for (uint32_t i = 68; i + 4 <= length; i += 4 + big16(rq + i + 2)) {
        const unsigned char *item = rq + i;
        if (item[0] == 0x10) {
            memcpy(ac + at, item, 4 + big16(item + 2));
            at += 4 + big16(item + 2);
        } else if (item[0] == 0x20) {
            const unsigned char *syntax = item + 8;
            syntax += 4 + big16(syntax + 2); /* past the abstract syntax */
            unsigned size = big16(syntax + 2);
            memcpy(ac + at, (unsigned char[]){0x21, 0, 0, 0, item[4], 0, 0, 0}, 8);
            put16(ac + at + 2, 4 + 4 + size);
            memcpy(ac + at + 8, syntax, 4 + size);
            at += 8 + 4 + size;
        }
    }
    static const char class[] = "1.2.3.4";
    memcpy(ac + at, (unsigned char[]){0x50, 0, 0, 0, 0x51, 0, 0, 4}, 8);
    put16(ac + at + 2, 8 + 4 + sizeof class - 1);
    put32(ac + at + 8, PDU_BYTES);
    at += 12;
    memcpy(ac + at, (unsigned char[]){0x52, 0, 0, sizeof class - 1}, 4);
    memcpy(ac + at + 4, class, sizeof class - 1);
    at += 4 + sizeof class - 1;
    ac[0] = 2;
    ac[1] = 0;
    put32(ac + 2, (uint32_t)(at - 6));
    write_all(fd, ac, at);
}

static size_t element(unsigned char *p, unsigned tag, const unsigned char *value, size_t size) {
    memset(p, 0, 8);
    p[2] = tag & 255;
    p[3] = tag >> 8;
    p[4] = size & 255;
    p[5] = size >> 8;
    memcpy(p + 8, value, size);
    return 8 + size;
}

/* Answer Success to the C-STORE-RQ whose command set is `command` (PS3.7 9.3.1.2). */
static void succeed(int fd, unsigned char context, const unsigned char *command, size_t length) {
    unsigned char out[1024];
    size_t at = 12 + 12;
    for (size_t i = 0; i + 8 <= length;) {
        unsigned tag = command[i + 2] | (unsigned)command[i + 3] << 8;
        size_t size = command[i + 4] | (size_t)command[i + 5] << 8;
        if (tag == 0x0002) {
            at += element(out + at, 0x0002, command + i + 8, size);
            at += element(out + at, 0x0100, (unsigned char[]){0x01, 0x80}, 2);
        }
        if (tag == 0x0110) {
            at += element(out + at, 0x0120, command + i + 8, 2);
            at += element(out + at, 0x0800, (unsigned char[]){0x01, 0x01}, 2);
            at += element(out + at, 0x0900, (unsigned char[]){0, 0}, 2);
        }
        if (tag == 0x1000) at += element(out + at, 0x1000, command + i + 8, size);
        i += 8 + size;
    }
    size_t group = at - 24;
    element(out + 12, 0, (unsigned char[]){group & 255, group >> 8, 0, 0}, 4);
    out[0] = 4;
    out[1] = 0;
    put32(out + 2, (uint32_t)(at - 6));
    put32(out + 6, (uint32_t)(at - 10));
    out[10] = context;
    out[11] = 3;
    write_all(fd, out, at);
}

static void serve(int fd, const char *folder) {
    static unsigned char command[65536];
    unsigned char header[6];
    size_t command_length = 0;
    int file = -1, made = 0;
    int directory = open(folder, O_RDONLY | O_DIRECTORY);
    for (;;) {
        read_all(fd, header, 6);
        uint32_t left = big32(header + 2);
        if (header[0] == 1) {
            if (left > sizeof buffer) _exit(1);
            read_all(fd, buffer, left);
            accept_association(fd, buffer, left);
            continue;
        }
        if (header[0] != 4) {
            if (header[0] == 5) write_all(fd, (unsigned char[]){6, 0, 0, 0, 0, 4, 0, 0, 0, 0}, 10);
            _exit(0);
        }
        while (left) {
            unsigned char pdv[6];
            read_all(fd, pdv, 6);
            uint32_t rest = big32(pdv) - 2;
            left -= 6 + rest;
            if (pdv[5] & 1) {
                if (command_length + rest > sizeof command) _exit(1);
                read_all(fd, command + command_length, rest);
                command_length += rest;
                continue;
            }
            if (file < 0) {
                char name[4096];
                snprintf(name, sizeof name, "%s/%d-%d", folder, (int)getpid(), made++);
                file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
            }
            while (rest) {
                size_t piece = rest < sizeof buffer ? rest : sizeof buffer;
                ssize_t got = read(fd, buffer, piece);
                if (got <= 0) _exit(0);
                write_all(file, buffer, (size_t)got);
                rest -= (uint32_t)got;
            }
            if (pdv[5] & 2) {
                if (fsync(file) || close(file) || fsync(directory)) _exit(1);
                file = -1;
                succeed(fd, pdv[4], command, command_length);
                command_length = 0;
            }
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        if (fork() == 0) {
            close(listener);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            serve(fd, argv[1]);
        }
        close(fd);
    }
}
