// Loaded before all else (LD_PRELOAD), it refuses a program every way out of this machine, and appends what was tried
// to the file that NO_NETWORK_LOG names, a line each.

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

void note(const char* call, const char* target) {
  const char* path = getenv("NO_NETWORK_LOG");
  const int file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
  if (file < 0) return;
  char line[512];
  const int length = snprintf(line, sizeof line, "%s %s %s\n", program_invocation_short_name, call, target);
  if (write(file, line, length < int(sizeof line) ? length : sizeof line) < 0) abort();
  close(file);
}

bool stays(const char* host) {
  return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcmp(host, "::ffff:127.0.0.1") ||
         !strcmp(host, "0.0.0.0") || !strcmp(host, "::") || !strcmp(host, "localhost");
}

bool refused(const char* call, const sockaddr* address) {
  if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) return false;
  char host[INET6_ADDRSTRLEN] = "";
  const void* bytes = address->sa_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)
                          : &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  inet_ntop(address->sa_family, bytes, host, sizeof host);
  if (stays(host)) return false;
  note(call, host);
  errno = ENETUNREACH;
  return true;
}

}  // namespace

extern "C" {

int connect(int socket, const sockaddr* address, socklen_t length) {
  if (refused("connect", address)) return -1;
  static const auto real = next<decltype(&connect)>("connect");
  return real(socket, address, length);
}

ssize_t sendto(int socket, const void* data, size_t size, int flags, const sockaddr* address, socklen_t length) {
  if (refused("sendto", address)) return -1;
  static const auto real = next<decltype(&sendto)>("sendto");
  return real(socket, data, size, flags, address, length);
}

ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  if (refused("sendmsg", static_cast<const sockaddr*>(message->msg_name))) return -1;
  static const auto real = next<decltype(&sendmsg)>("sendmsg");
  return real(socket, message, flags);
}

int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  if (host && !stays(host)) {
    note("getaddrinfo", host);
    return EAI_FAIL;
  }
  static const auto real = next<decltype(&getaddrinfo)>("getaddrinfo");
  return real(host, service, hints, found);
}

hostent* gethostbyname(const char* host) {
  if (!stays(host)) {
    note("gethostbyname", host);
    h_errno = NO_RECOVERY;
    return nullptr;
  }
  static const auto real = next<decltype(&gethostbyname)>("gethostbyname");
  return real(host);
}
}
