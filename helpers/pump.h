/* What pump.c (streams, the loop's turn) and clients.c (clients, the container's input) know of each other. */
#ifndef RPOD_PUMP_H
#define RPOD_PUMP_H

#include "monitor.h"

void set_nonblocking(int fd);

/* Writes the input that is waiting. A container that does not read leaves it waiting. */
void stdin_write(struct pump *pump);
void stdin_close(struct pump *pump);

void client_add(struct pump *pump, int fd, bool foreground);
/* Gives a client what it has not got yet: chunks first, then the news of the end. */
void client_serve(struct pump *pump, struct client *client);
/* Takes one message. The end, an empty message and one that is too long end the client. */
void client_read(struct pump *pump, struct client *client);
short client_events(const struct client *client);
/* Whether one was there. */
bool clients_accept(struct pump *pump);
bool clients_have_place(const struct pump *pump);
/* Whether a client has not got the last chunk of stream `which`. */
bool clients_owed(const struct pump *pump, size_t which);
/* Room in the kernel for the tail of the output. */
void clients_widen(struct pump *pump);

#endif
