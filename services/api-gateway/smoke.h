/* `api-gateway smoke`: asks a running shop for what a customer asks, and says what does not work. For `helm test`,
 * whose pod has nothing but this program, and for whoever has just installed a shop. */
#ifndef API_GATEWAY_SMOKE_H
#define API_GATEWAY_SMOKE_H

/* The exit status: 0 when all of it works, 1 when something does not, 2 for wrong options. */
int smoke_main(int argc, char **argv);

#endif
