/*
 * tinyweb: serves the files of one folder over HTTP/1.1, and does nothing else.
 *
 *   tinyweb [--port 80] [--root /public]     serve
 *   tinyweb [--port 80] --health             exit 0 when the server on this host answers "200" to GET /
 *
 * One process per connection, each with an alarm, so that a client that says nothing holds nothing up.
 * It never looks outside its root: a path with a ".." segment is refused before a file is opened.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REQUEST_MAX = 8192, PATH_MAX_BYTES = 1024, CONNECTION_SECONDS = 10 };

static void stop(int signal_number) {
  (void)signal_number;
  static const char message[] = "tinyweb: stopping\n";
  ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
  _exit(written < 0);
}

static const char *mime_type(const char *path) {
  static const struct { const char *extension, *type; } types[] = {
      {".html", "text/html; charset=utf-8"}, {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"}, {".json", "application/json"},
      {".svg", "image/svg+xml"}, {".png", "image/png"}, {".jpg", "image/jpeg"},
      {".ico", "image/x-icon"}, {".txt", "text/plain; charset=utf-8"}, {".xml", "application/xml"},
  };
  const char *dot = strrchr(path, '.');
  for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
    if (strcasecmp(dot, types[i].extension) == 0) return types[i].type;
  return "application/octet-stream";
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Decodes %xx up to '?' or '#'. Returns 0, or -1 for what no honest client sends. */
static int decode_path(const char *raw, char *out, size_t size) {
  size_t n = 0;
  if (*raw != '/') return -1;
  for (; *raw && *raw != '?' && *raw != '#'; raw++) {
    int c = (unsigned char)*raw;
    if (c == '%') {
      int high = hex_digit(raw[1]), low = high < 0 ? -1 : hex_digit(raw[2]);
      if (low < 0) return -1;
      c = high * 16 + low;
      raw += 2;
    }
    if (c == 0 || n + 1 >= size) return -1;
    out[n++] = (char)c;
  }
  out[n] = 0;
  for (const char *segment = out; segment; segment = strchr(segment + 1, '/'))
    if (strncmp(segment, "/..", 3) == 0 && (segment[3] == '/' || segment[3] == 0)) return -1;
  return 0;
}

static void send_all(int client, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = send(client, bytes, length, MSG_NOSIGNAL);
    if (sent <= 0) _exit(0);
    bytes += sent;
    length -= (size_t)sent;
  }
}

static void respond_short(int client, int status, const char *reason, int head_only) {
  char body[128], message[512];
  int body_length = snprintf(body, sizeof body, "%d %s\n", status, reason);
  int length = snprintf(message, sizeof message,
                        "HTTP/1.1 %d %s\r\nServer: tinyweb/" TINYWEB_VERSION "\r\n"
                        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s",
                        status, reason, body_length, status == 405 ? "Allow: GET, HEAD\r\n" : "", head_only ? "" : body);
  send_all(client, message, (size_t)length);
}

/* Opens the file for a decoded path; a folder means its index.html. Fills `name` with what was opened. */
static int open_file(const char *root, const char *path, char *name, size_t size, struct stat *info) {
  if ((size_t)snprintf(name, size, "%s%s", root, path) >= size) return -1;
  if (stat(name, info) == 0 && S_ISDIR(info->st_mode)) {
    size_t length = strlen(name);
    const char *index = name[length - 1] == '/' ? "index.html" : "/index.html";
    if (length + strlen(index) >= size) return -1;
    strcat(name, index);
  }
  int file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  if (fstat(file, info) != 0 || !S_ISREG(info->st_mode)) {
    close(file);
    return -1;
  }
  return file;
}

static void serve(int client, const char *root) {
  char request[REQUEST_MAX], path[PATH_MAX_BYTES], name[2 * PATH_MAX_BYTES], head[1024];
  size_t have = 0;
  alarm(CONNECTION_SECONDS);
  for (;;) {
    ssize_t got = recv(client, request + have, sizeof request - 1 - have, 0);
    if (got <= 0) return;
    have += (size_t)got;
    request[have] = 0;
    if (strstr(request, "\r\n\r\n")) break;
    if (have == sizeof request - 1) {
      respond_short(client, 431, "Request Header Fields Too Large", 0);
      return;
    }
  }
  char *headers = strstr(request, "\r\n");
  *headers = 0;
  char *target = strchr(request, ' '), *protocol = target ? strchr(target + 1, ' ') : NULL;
  if (!protocol) {
    respond_short(client, 400, "Bad Request", 0);
    return;
  }
  *target++ = 0;
  *protocol = 0;
  int head_only = strcmp(request, "HEAD") == 0;
  if (!head_only && strcmp(request, "GET") != 0) {
    respond_short(client, 405, "Method Not Allowed", 0);
    return;
  }
  if (decode_path(target, path, sizeof path) != 0) {
    respond_short(client, 400, "Bad Request", head_only);
    return;
  }
  struct stat info;
  int file = open_file(root, path, name, sizeof name, &info);
  if (file < 0) {
    respond_short(client, 404, "Not Found", head_only);
    return;
  }
  char tag[80] = "";
#ifdef WITH_ETAG
  char value[48];
  snprintf(value, sizeof value, "\"%llx-%llx\"", (unsigned long long)info.st_mtim.tv_sec, (unsigned long long)info.st_size);
  snprintf(tag, sizeof tag, "ETag: %s\r\n", value);
  char *condition = strcasestr(headers + 1, "\nif-none-match:");
  if (condition && strstr(condition, value)) {
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 304 Not Modified\r\nServer: tinyweb/" TINYWEB_VERSION "\r\n%sConnection: close\r\n\r\n", tag);
    send_all(client, head, (size_t)length);
    return;
  }
#endif
  int length = snprintf(head, sizeof head,
                        "HTTP/1.1 200 OK\r\nServer: tinyweb/" TINYWEB_VERSION "\r\nContent-Type: %s\r\n"
                        "Content-Length: %lld\r\n%sX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                        mime_type(name), (long long)info.st_size, tag);
  send_all(client, head, (size_t)length);
  for (off_t left = head_only ? 0 : info.st_size; left > 0;) {
    ssize_t sent = sendfile(client, file, NULL, (size_t)left);
    if (sent <= 0) return;
    left -= sent;
  }
}

static int connect_and_ask(unsigned short port) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char answer[13] = "";
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  alarm(CONNECTION_SECONDS);
  if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address) != 0) return 1;
  if (send(server, request, sizeof request - 1, MSG_NOSIGNAL) < 0) return 1;
  if (recv(server, answer, sizeof answer - 1, MSG_WAITALL) < 0) return 1;
  return strcmp(answer, "HTTP/1.1 200") == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
  const char *root = "/public";
  unsigned short port = 80;
  int health = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--health") == 0) health = 1;
    else if (strcmp(argv[i], "--version") == 0) return puts("tinyweb " TINYWEB_VERSION) < 0;
    else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) port = (unsigned short)atoi(argv[++i]);
    else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc) root = argv[++i];
    else return fprintf(stderr, "tinyweb: unknown argument %s\n", argv[i]), 64;
  }
  if (health) return connect_and_ask(port);

  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGCHLD, SIG_IGN); /* children are reaped by the kernel */
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), any = 0, yes = 1;
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any};
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
  struct sockaddr *address = (struct sockaddr *)&v6;
  socklen_t address_length = sizeof v6;
  if (listener >= 0) {
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &any, sizeof any);
  } else { /* a kernel without IPv6 */
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = (struct sockaddr *)&v4;
    address_length = sizeof v4;
  }
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, address, address_length) != 0 || listen(listener, 128) != 0) {
    fprintf(stderr, "tinyweb: cannot listen on port %u: %s\n", port, strerror(errno));
    return 1;
  }
  fprintf(stderr, "tinyweb " TINYWEB_VERSION ": serving %s on port %u\n", root, port);
  for (;;) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) continue;
    pid_t child = fork();
    if (child == 0) {
      signal(SIGTERM, SIG_DFL);
      serve(client, root);
      shutdown(client, SHUT_WR);
      _exit(0);
    }
    close(client);
  }
}
