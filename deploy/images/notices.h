/* The licences of all that is linked into a program, as the build embeds them; `notices` gathers them. */
#ifndef NOTICES_H
#define NOTICES_H

extern const char notices[];

#endif
