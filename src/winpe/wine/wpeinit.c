/* Stands in for the program that starts networking in Windows PE: it leaves a trace. */
#include <stdio.h>

int main(void)
{
    FILE *trace = fopen("wpeinit.ran", "w");
    return trace == NULL || fclose(trace) != 0;
}
